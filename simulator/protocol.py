"""How a source measured: what was in the caches, how calls followed each other, on which stack."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from simulator.runtime import list_runtimes, load_runtime
from workloads.errors import nearest

if TYPE_CHECKING:
    from hardware_profiles.schema import Profile
    from simulator.cases import Case

_ONE_FRAMEWORK = re.compile(r"(?:^|; )frameworks=([a-z]+)(?:;|$)")
_THREADS = re.compile(r"(?:^|; )(?:threads|cores)=([1-9][0-9]{0,3})(?:;|$)")
_ONE_THREAD = "one CPU thread"
_ONE_SOCKET = "two sockets, a request uses one"
ACCELERATE = "Accelerate"
_CLUSTER_CORES = 4
"""Performance cores that share a matrix unit on Apple's CPUs: one thread drives all of it."""

_HOT = {"activation": 1, "input": 1, "weight": 1, "kv_cache": 1}
_COLD_WEIGHTS = {"activation": 1, "input": 1}
_ROTATED = {"activation": 1, "input": 1, "weight": 4}
_ROTATES_WEIGHTS = "aiconfigurator"
"""The source that takes turns among several sets of weights, so that few are found in a cache. How
many is not stated: four explain its products on an L40S (96 MiB of L2) best of 0 to 16."""

_RUNS_WHOLE_MODELS = "llmservingsim"
"""The source that times layers inside a running model: other layers' weights pass in between."""

_BACK_TO_BACK = "apex_plus"
"""The source that calls an operator many times in a row and divides by their number."""
_ATTENTION_BACK_TO_BACK = "infersim"
"""The source that does so with attention: a Python timer around a loop."""
_CALLS = 17
"""So many calls stand for many: the first, which fills the pipeline, is not counted."""


def calls_in_a_row(case: Case) -> int:
    """How many calls to simulate for a case: 1, or some where the source called back to back."""
    name = library_of(case)
    several = name == _BACK_TO_BACK or (
        name == _ATTENTION_BACK_TO_BACK and case.what == "attention"
    )
    return _CALLS if several else 1


def warm_roles(case: Case) -> dict[str, int]:
    """What the way of measuring leaves in the caches, by role."""
    if case.source.startswith(_ROTATES_WEIGHTS):
        return _ROTATED
    if case.source.startswith(_RUNS_WHOLE_MODELS) and case.what == "matmul":
        return _COLD_WEIGHTS
    return _HOT


def library_of(case: Case) -> str:
    """What stands for the kernel library of a case: the name of its source, without version.

    Sources differ in libraries, their versions and their ways of measuring; they do not all say
    which, so a calibration holds for its source. AIConfigurator's is the median of TensorRT-LLM,
    vLLM and SGLang; where only one of them was timed, attention is that one's.
    """
    alone = _ONE_FRAMEWORK.search(case.conditions)
    if alone and case.what == "attention" and case.source.startswith(_ROTATES_WEIGHTS):
        return alone[1]
    words = case.source.lower().split()
    return words[0].split("@")[0].split("/")[-1] if words else "unknown"


def prepares_attention(case: Case) -> bool:
    """Whether a small kernel precedes attention, which plans its blocks for lengths and pages.

    In AIConfigurator's calls on many new tokens of decoders; those of encoders, which have no paged
    cache, take the time of one kernel less in the same frameworks.
    """
    return case.source.startswith(_ROTATES_WEIGHTS) and case.sizes["causal"] == 1


def appends_to_cache(case: Case) -> bool:
    """Whether attention was timed with the rotary embedding and the cache write of its tokens.

    AIConfigurator does with TensorRT-LLM. Where SGLang was timed too, the median is of calls
    without.
    """
    return "trtllm" in case.conditions and "sglang" not in case.conditions


def threads_of(conditions: str) -> int:
    """Cores that a case uses of a CPU; 0 where it does not say."""
    if _ONE_THREAD in conditions:
        return _CLUSTER_CORES if ACCELERATE in conditions else 1
    found = _THREADS.search(conditions)
    return int(found[1]) if found else 0


def one_socket(case: Case) -> bool:
    """Whether a case uses one of a machine's two sockets, as its source says."""
    return _ONE_SOCKET in case.conditions


UNKNOWN_RUNTIME = "unknown"
_SPREAD_ENGINE = "vllm-eager"
"""What an unknown engine on several devices is like: in the public cases of 2023 a step takes as
long on 8 devices as on 4, so the host launches kernel by kernel."""
_AUTOCAST = "autocast"
_FLASH_ATTENTION = "flash_attention=1"
_INT8_MODES = ("int8-v1", "int8-v2")
_VERSIONS = {
    ("tensorrt", "TensorRT 2021"): "tensorrt-2021",
    ("tensorflow-xla", "TensorFlow 1 XLA"): "tensorflow1-xla",
    ("tensorflow-xla", "TensorFlow 2 XLA"): "tensorflow2-xla",
}
"""Runtimes for versions of a software that differ, by its name and what the conditions say."""


def best_runtime(profile: Profile, *, decoder: bool = True) -> str:
    """The runtime that serves this kind of machine best, for whom nothing else is known.

    Language models: TensorRT-LLM on NVIDIA GPUs, llama.cpp on Apple's and on CPUs, vLLM on other
    GPUs. Other models: TensorRT on NVIDIA GPUs, OpenVINO on CPUs, ONNX Runtime elsewhere.
    """
    maker = profile.name.split("-", 1)[0]
    if profile.kind == "cpu":
        return "llama.cpp" if decoder else "openvino"
    if maker == "nvidia":
        return "tensorrt-llm" if decoder else "tensorrt"
    if maker == "apple" and decoder:
        return "llama.cpp"
    return "vllm" if decoder else "onnxruntime"


_runtime = cache(load_runtime)


def unknown_runtime(case: Case, profile: Profile) -> str:
    """Why a case's runtime is not one that can be simulated on its machine; empty where it is."""
    if case.runtime == UNKNOWN_RUNTIME:
        return "runtime unknown"
    known = list_runtimes()
    if case.runtime not in known:
        return f"no runtime {case.runtime!r}{nearest(case.runtime, known)}"
    if getattr(_runtime(case.runtime), profile.kind) is None:
        return f"runtime {case.runtime!r} does not run on a {profile.kind}"
    return ""


def runtime_of(case: Case, profile: Profile, *, decoder: bool = True) -> tuple[str, str]:
    """The runtime that predicts a case, and a note where it is not the one that the case names."""
    if unknown := unknown_runtime(case, profile):
        if case.devices > 1 and decoder and profile.kind == "gpu":
            name = _SPREAD_ENGINE
            return name, f"{unknown}, several devices: predicted with {name}, see its file"
        name = best_runtime(profile, decoder=decoder) if case.workload else "kernel"
        which = "the best for this kind of machine" if case.workload else "device time alone"
        return name, f"{unknown}: predicted with {name}, {which}"
    for condition in (_AUTOCAST, ACCELERATE, _FLASH_ATTENTION, *_INT8_MODES):
        variant = f"{case.runtime}-{condition.lower().removesuffix('=1')}"
        if condition in case.conditions and variant in list_runtimes():
            return variant, f"with {condition}: predicted with {variant}"
    for (software, condition), variant in _VERSIONS.items():
        if case.runtime == software and condition in case.conditions:
            return variant, f"{condition}: predicted with {variant}"
    by_type = f"{case.runtime}-{case.dtype}"
    if by_type in list_runtimes():
        return by_type, f"in {case.dtype}: predicted with {by_type}"
    return case.runtime, ""
