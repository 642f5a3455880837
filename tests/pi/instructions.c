/* A QEMU plugin that counts the instructions which an emulated program retires.
 *
 * The program asks for the count by a system call that does nothing else: getpgid() of a process
 * number that cannot exist, MARK + n. Each such call writes "n COUNT" to the file that the plugin
 * was given (out=FILE), COUNT being all instructions of all threads so far. The difference of two
 * counts is what the program did between them.
 *
 * Counted are guest instructions as the processor would retire them, not what QEMU makes of them.
 * A block that is left in its middle, by a signal or a fault, counts as a whole.
 *
 *     cc -shared -fPIC -O2 -o instructions.so instructions.c
 *
 * It declares what it uses of QEMU's plugin API, version 1 (QEMU 4.2 to 8.1): Debian ships no
 * header for it. https://www.qemu.org/docs/master/devel/tcg-plugins.html
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef struct {
    const char *target_name;
    struct {
        int min;
        int cur;
    } version;
    /* more follows, of no use here */
} qemu_info_t;

extern void qemu_plugin_register_vcpu_tb_trans_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_inline(
    struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern void qemu_plugin_register_vcpu_syscall_cb(
    qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                               uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));

#define EXPORT __attribute__((visibility("default")))
#define MARK 0x7e57000u /* above every kernel's largest process number, 4194304 */
#define MARKS 0x1000u

EXPORT int qemu_plugin_version = 1;

static uint64_t count;
static int64_t getpgid_number;
static FILE *out;

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &count,
                                             qemu_plugin_tb_n_insns(tb));
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == getpgid_number && a1 >= MARK && a1 < MARK + MARKS) {
        fprintf(out, "%u %llu\n", (unsigned)a1 - MARK, (unsigned long long)count);
        fflush(out);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    if (strcmp(info->target_name, "aarch64") == 0) {
        getpgid_number = 155;
    } else if (strcmp(info->target_name, "x86_64") == 0) {
        getpgid_number = 121;
    } else {
        fprintf(stderr, "instructions: no number of getpgid for %s\n", info->target_name);
        return -1;
    }
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || !(out = fopen(argv[0] + 4, "w"))) {
        fprintf(stderr, "instructions: give out=FILE, one that can be written\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
