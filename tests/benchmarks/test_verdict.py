from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_emotion.benchmarks.budget import recommend, unchecked, violations
from edge_emotion.benchmarks.run import make_settings
from edge_emotion.benchmarks.schema import ArtefactResult, BenchReport
from edge_emotion.benchmarks.verdict import explain
from edge_emotion.machine import Conditions

from .made import make_agreement, make_artefact, make_evaluation, make_report


def verdict(report: BenchReport) -> str:
    return "\n".join(explain(replace(report, recommended=recommend(report))))


def five(**p50: float) -> list[ArtefactResult]:
    times = {"keras": 3.0, "onnx_f32": 0.44, "onnx_int8": 0.22, "tflite_f32": 0.42,
             "tflite_int8": 0.11} | p50  # fmt: skip
    return [make_artefact(name.replace("_", "-"), p) for name, p in times.items()]


def not_run(recipe: str, status: Any, reason: str) -> ArtefactResult:
    return make_artefact(
        recipe, 1.0, status=status, reason=reason, timings=[], evaluation=None, agreement=None
    )


# Which to deploy


def test_the_fastest_within_the_budget_is_recommended() -> None:
    report = make_report(*five())
    assert recommend(report) == "tflite-int8"
    text = verdict(report)
    assert "Deploy tflite-int8 on this machine: 0.110 ms a picture (median, 1 thread)" in text
    assert "It is the fastest export measured here" in text
    assert "Without any extra the fastest is onnx-int8: 0.220 ms" in text


def test_a_tie_goes_to_the_one_that_needs_no_extra() -> None:
    report = make_report(*five(onnx_int8=0.114))
    assert recommend(report) == "onnx-int8"
    assert "tflite-int8 is 4% faster, but needs an extra" in verdict(report)


def test_a_tie_of_one_engine_goes_to_the_smaller_file() -> None:
    large = make_artefact("onnx-f32", 0.1, bytes=900_000)
    report = make_report(large, make_artefact("onnx-int8", 0.104))
    assert recommend(report) == "onnx-int8"
    assert "onnx-f32 is 4% faster, but is the larger file" in verdict(report)


def test_keras_is_never_recommended() -> None:
    assert recommend(make_report(make_artefact("keras", 0.01))) is None
    report = make_report(make_artefact("keras", 0.01), make_artefact("onnx-f32", 1.0))
    assert recommend(report) == "onnx-f32"


def test_one_that_loses_too_much_is_not_recommended_however_fast() -> None:
    bad = make_artefact("tflite-int8", 0.01, agreement=make_agreement(drop=0.02))
    report = make_report(make_artefact("keras", 3.0), make_artefact("onnx-int8", 0.2), bad)
    assert recommend(report) == "onnx-int8"
    assert "tflite-int8 is 1900% faster, but is outside the accuracy budget" in verdict(report)


def test_nothing_within_the_budget_is_nothing_to_deploy() -> None:
    bad = make_artefact("onnx-int8", 0.2, agreement=make_agreement(agree=0.5))
    report = make_report(make_artefact("keras", 3.0), bad)
    assert recommend(report) is None
    assert "No export is within the accuracy budget: deploy none" in verdict(report)


# The gate


@pytest.mark.parametrize(
    ("drop", "agree", "message"),
    [
        (0.0099, 0.98, None),
        (0.0101, 0.995, "onnx-int8: accuracy drops 1.01 points (0.9000 to 0.8899), more than 1.00"),
        (-0.02, 0.96, "onnx-int8: label agreement 0.9600 is under 0.9800"),
        (None, 0.97, "label agreement 0.9700"),
        (None, 0.99, None),
    ],
)
def test_the_budget_is_accuracy_and_agreement(
    drop: float | None, agree: float, message: str | None
) -> None:
    int8 = make_artefact("onnx-int8", 0.2, agreement=make_agreement(drop, agree))
    found = violations(make_report(make_artefact("keras", 3.0), int8))
    if message is None:
        assert found == []
    else:
        assert len(found) == 1
        assert message in found[0]


def test_what_was_not_compared_is_not_passed_over() -> None:
    report = make_report(
        make_artefact("keras", 3.0), make_artefact("onnx-int8", 0.2),
        not_run("tflite-int8", "skipped", "no litert"),
    )  # fmt: skip
    assert unchecked(report) == ["tflite-int8"]


# int8 beside float


def test_int8_that_is_faster_is_said_with_the_ratio() -> None:
    text = verdict(make_report())
    assert "onnx-int8 is 2.0 times as fast as onnx-f32: 0.220 ms against 0.440 ms." in text


def test_int8_without_dot_product_gets_that_cause() -> None:
    text = verdict(make_report(*five(onnx_int8=0.46), flags=["avx2"]))
    assert "onnx-int8 is not faster than onnx-f32 here: 0.460 ms against 0.440 ms" in text
    assert "no int8 dot-product instruction" in text


def test_int8_of_a_tiny_network_gets_that_cause() -> None:
    text = verdict(make_report(*five(onnx_int8=0.46), multiply_adds=100_000))
    assert "the network is so small (0.1 M multiply-adds)" in text


def test_int8_in_a_noisy_run_gets_no_invented_cause() -> None:
    noisy = make_artefact("onnx-int8", 0.46, rounds=(0.8, 1.3))
    text = verdict(make_report(make_artefact("onnx-f32", 0.44), noisy, reference="onnx-f32"))
    assert "Likely cause: unclear, since the rounds differ too much" in text
    assert (
        "The machine was noisy: medians of the rounds differ by up to 62% (onnx-int8, model)"
        in text
    )


def test_int8_with_dot_product_points_at_the_graph() -> None:
    text = verdict(make_report(*five(onnx_int8=0.46)))
    assert "in the graph, since the processor has int8 dot products (avx512_vnni)" in text


def test_dynamic_int8_has_a_cause_of_its_own() -> None:
    slow = make_artefact("tflite-int8-dynamic", 0.5)
    text = verdict(make_report(*five(), slow))
    assert "its activations stay float and are quantised anew" in text


def test_an_unknown_processor_is_not_guessed_at() -> None:
    report = make_report(*five(onnx_int8=0.46))
    report = replace(report, machine=replace(report.machine, int8_flags=None))
    assert "the kernel does not say which int8 instructions" in verdict(report)


def test_a_faster_median_within_the_noise_is_qualified() -> None:
    int8 = make_artefact("onnx-int8", 0.3, rounds=(0.7, 1.6))
    text = verdict(make_report(make_artefact("onnx-f32", 0.44), int8, reference="onnx-f32"))
    assert "the slowest round of the one is no faster than the fastest of the other" in text


# What the processor lets one expect


def test_what_to_expect_of_the_processor_is_said() -> None:
    text = verdict(make_report(*five()))
    assert "What to expect of this processor: with VNNI int8 was measured" in text
    assert "speaks for another" not in text


def test_a_measurement_against_the_expectation_wins_and_it_is_said() -> None:
    report = make_report(*five(), flags=["avx2"])
    assert recommend(report) == "tflite-int8"
    text = verdict(report)
    assert (
        "without VNNI edge-cnn in int8 was measured to be faster than float by onnxruntime" in text
    )
    assert "That speaks for onnx-int8; what was measured here speaks for another." in text


def test_a_pi_4_is_told_from_a_pi_5() -> None:
    report = make_report(*five(), flags=[])
    report = replace(report, machine=replace(report.machine, arch="aarch64"))
    assert "without an int8 dot product (Pi 3, Pi 4, Zero 2 W)" in verdict(report)
    report = replace(report, machine=replace(report.machine, int8_flags=["asimddp"]))
    assert "with the int8 dot product (Pi 5)" in verdict(report)


def test_nothing_is_expected_of_an_unknown_processor_or_of_one_export() -> None:
    report = make_report(*five())
    unknown = replace(report, machine=replace(report.machine, int8_flags=None))
    assert "What to expect" not in verdict(unknown)
    assert "What to expect" not in verdict(make_report(make_artefact("onnx-int8", 0.2)))


# The rest


def test_where_the_time_goes_is_said() -> None:
    text = verdict(make_report())
    assert "From JPEG to label onnx-int8 takes 2.42 ms: decoding 83%" in text
    assert "save more than a faster network would" in text


def test_threads_whose_rounds_overlap_are_not_called_faster() -> None:
    report = make_report()
    few, more = report.artefacts[2].timings
    more = replace(more, model=replace(more.model, round_medians=[0.16, 0.17, 0.18, 0.31]))
    int8 = replace(report.artefacts[2], timings=[few, more])
    text = verdict(replace(report, artefacts=[*report.artefacts[:2], int8]))
    words = "With 2 threads onnx-int8 takes 0.169 ms instead of 0.220 ms, but its slowest round"
    assert f"{words} is no faster than the fastest with fewer." in text


def test_the_keras_model_is_beside_the_recommended_one() -> None:
    text = verdict(make_report())
    assert "The float Keras model takes 3.00 ms: onnx-int8 is 14 times as fast" in text


def test_threads_that_do_not_help_are_left_to_others() -> None:
    report = make_report()
    slow = replace(report.artefacts[2].timings[1], model=report.artefacts[2].timings[0].model)
    int8 = replace(report.artefacts[2], timings=[report.artefacts[2].timings[0], slow])
    text = verdict(replace(report, artefacts=[*report.artefacts[:2], int8]))
    assert "leave the other cores to the program around it" in text
    assert "With 2 threads onnx-int8 takes 0.169 ms instead of 0.220 ms." in verdict(report)


def test_real_differences_and_those_too_small_to_show_are_told_apart() -> None:
    real = replace(make_agreement(drop=0.008), mcnemar_p=0.001)
    report = make_report(
        make_artefact("keras", 3.0), make_artefact("onnx-int8", 0.2, agreement=real),
        make_artefact("tflite-int8", 0.1, agreement=make_agreement(drop=-0.001)),
    )  # fmt: skip
    text = verdict(report)
    assert "onnx-int8 loses 0.80 points" in text
    words = "more than chance explains (p, not the interval, corrected for 2 comparisons)."
    assert f"p = 0.002) against keras: {words}" in text
    assert "tflite-int8 gains 0.10 points" in text
    assert "no difference that 1000 pictures can show" in text
    assert "keras is right on 90.0% (95 %: 88.0% to 92.0%)" in text


def test_of_several_exports_one_that_differs_by_chance_is_no_real_difference() -> None:
    chance = make_artefact("onnx-int8", 0.2, agreement=replace(make_agreement(), mcnemar_p=0.03))
    keras, other = make_artefact("keras", 3.0), make_artefact("tflite-int8", 0.1)
    assert "more than chance explains" in verdict(make_report(keras, chance))
    assert "more than chance explains" not in verdict(make_report(keras, chance, other))
    # One that gives no other label could not have differed.
    assert other.agreement is not None
    same = replace(other, agreement=replace(other.agreement, label_agreement=1.0, mcnemar_p=1.0))
    assert "more than chance explains" in verdict(make_report(keras, chance, same))


def test_training_set_figures_are_called_so() -> None:
    report = make_report()
    data = replace(report.data, protocol="training-set", trained_on=400)
    text = verdict(replace(report, data=data))
    assert "training-set figures" in text
    assert "400 of these 1000 pictures" in text


def test_pictures_left_out_are_counted() -> None:
    report = make_report()
    text = verdict(replace(report, data=replace(report.data, trained_on=12)))
    assert "12 pictures were left out: the model was trained or validated on them" in text


def test_data_of_unknown_origin_is_said() -> None:
    report = make_report()
    text = verdict(replace(report, data=replace(report.data, trained_on_known=False)))
    assert "trained on some of these pictures, or on other crops of their" in text


def test_without_labels_the_accuracies_are_recorded_ones() -> None:
    artefacts = [
        replace(a, evaluation=None, agreement=None if a.recipe == "keras" else make_agreement(None))
        for a in five()
    ]
    report = make_report(*artefacts)
    data = replace(
        report.data, kind="unlabelled", name="distilled pictures", samples=64, protocol=None
    )
    text = verdict(replace(report, data=data))
    assert "agreement is measured on 64 distilled pictures" in text
    assert "recorded in the card, not measured now" in text
    text = verdict(make_report(artefacts[2], data=data, reference=None))
    assert "(--data): the accuracies are those recorded in the card, not measured now" in text


def test_without_keras_the_reference_is_named() -> None:
    report = make_report(not_run("keras", "skipped", "no keras"), *five()[1:], reference="onnx-f32")
    text = verdict(report)
    assert "The float reference is onnx-f32, since the Keras model was not run here" in text
    assert "keras skipped: no keras." in text


def test_a_busy_or_throttled_machine_is_said() -> None:
    report = make_report(
        before=Conditions(60.0, 3.5, [], 0.9), after=Conditions(81.0, 4.0, ["throttled now"], 0.1)
    )
    text = verdict(report)
    assert (
        "Other programs were running: 0.9 of 2 cores were busy when the measurement began" in text
    )
    assert "its firmware reports throttled now" in text


def test_what_happened_before_the_run_is_not_held_against_it() -> None:
    once = ["under-voltage since boot"]
    # The load average has our own reading of the pictures in it.
    report = make_report(
        before=Conditions(60.0, 3.5, once, 0.1), after=Conditions(81.0, 4.0, once, 0.2)
    )
    assert not any(word in verdict(report) for word in ("Other programs", "full speed"))
    report = replace(report, before=Conditions(60.0, 0.1, [], 0.1))
    assert "its firmware reports under-voltage since boot" in verdict(report)


def test_a_quick_run_says_how_many_runs_it_had() -> None:
    text = verdict(make_report(settings=make_settings(quick=True, threads=[1, 2])))
    assert "This is a quick run: its percentiles come from 100 runs each" in text


def test_a_quiet_full_run_has_no_caveats() -> None:
    report = make_report(make_artefact("keras", 3.0, evaluation=make_evaluation()))
    assert not any(word in verdict(report) for word in ("noisy", "quick", "Other programs"))


def test_a_model_that_may_be_guessing_is_said_to() -> None:
    guess = replace(make_evaluation(1 / 3), confusion=[[0, 333, 0], [0, 333, 0], [0, 333, 0]])
    guess = replace(guess, balanced_accuracy=1 / 3)
    report = make_report(
        make_artefact("keras", 3.0, evaluation=guess), make_artefact("onnx-f32", 1)
    )
    words = "That cannot be told from guessing"
    assert words in verdict(report)
    assert words not in verdict(make_report())
