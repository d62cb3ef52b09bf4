"""Where engines cannot compile, keep files, share threads or fork: they go on, or one line says why not."""

import os
import shutil
import subprocess
import sys
import textwrap
from ctypes.util import find_library
from pathlib import Path

import pytest
import torch

from snnbook import ops
from snnbook.errors import UserError
from snnbook.ops import engines

numba = pytest.importorskip("numba", reason="the cpu engine needs Numba")
from snnbook.ops.cpu import jit  # noqa: E402

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
LAYERS = ["omp", "workqueue", *["tbb"] * (find_library("tbb") is not None)]
ENGINES = ("reference", "cpu", "auto")
NET = """
import os, sys, threading, warnings
import torch
from snnbook import losses, networks

labels = torch.arange(30) % 3
torch.manual_seed(1)
images = torch.rand(30, 1, 8, 8) / 4 + torch.eye(8)[2 * labels][:, None, :, None]

def build(engine="auto", notation="8C3-P2-32"):
    torch.manual_seed(0)
    net = networks.build(notation, (1, 8, 8), 3, padding=1, engine=engine)
    net.initialise(images, 0.6)
    return net

def spikes(net):
    with torch.no_grad():
        return net(images)
"""


def run(code, **environment):
    """A Python process with the network above; it must end well and write at most one line to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", NET + textwrap.dedent(code)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") <= 1, done.stderr
    return done


# ---- the cache ----


def double(x):
    return 2 * x


@pytest.fixture
def compile_double(tmp_path, monkeypatch):
    """compile_double() -> the function compiled with files in tmp_path, whether it was found there."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_warned", False)

    def compile_():
        function = jit.compiled()(double)
        assert function(21) == 42
        return sum(function.stats.cache_hits.values()) == 1

    return compile_


def test_what_was_compiled_is_kept(compile_double):
    assert [compile_double() for _ in range(2)] == [False, True]


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone", "a folder"])
def test_damaged_files_are_compiled_anew(kind, damage, compile_double, tmp_path, recwarn):
    compile_double()
    (path,) = tmp_path.rglob(f"*.{kind}")
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        content[len(content) // 2] ^= 4
        path.write_bytes({"cut": content[:100], "empty": b"", "flipped": content}[damage])
    assert not compile_double()
    if damage != "a folder":
        assert compile_double(), "the file is whole again"
        assert not list(recwarn)
    else:
        assert len(recwarn) <= 1


def test_any_change_in_the_engine_is_seen(compile_double, monkeypatch):
    compile_double()
    monkeypatch.setattr(jit, "_sources", lambda: b"changed")
    assert not compile_double()


def test_a_full_cache_costs_one_line(compile_double, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match=r"cannot be kept \(.*No space left on device\).* NUMBA_CACHE_DIR") as said:
        assert [compile_double(), compile_double()] == [False, False]
    assert len(said) == 1


@pytest.fixture
def no_folder(monkeypatch, tmp_path):
    """Numba finds no folder, unless one is named; the temporary folder is tmp_path."""
    init = jit.FunctionCache.__init__

    def named_alone(self, function):
        if not numba.config.CACHE_DIR:
            raise RuntimeError("no locator available")
        init(self, function)

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(jit, "_warned", False)
    monkeypatch.setattr(jit.FunctionCache, "__init__", named_alone)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.skipif(os.name != "posix", reason="users have numbers")
def test_the_temporary_folder_serves_where_no_other_can(no_folder, tmp_path, recwarn):
    function = jit.compiled()(double)
    assert function(1) == 2
    assert (tmp_path / f"snnbook-{os.getuid()}").stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.rglob("*.nbc"))
    assert numba.config.CACHE_DIR == ""
    assert not list(recwarn)


@pytest.mark.skipif(os.name != "posix", reason="users have numbers")
@pytest.mark.parametrize("trap", ["open to others", "a link", "a file", "of another"])
def test_a_folder_that_others_could_write_to_is_not_trusted(trap, no_folder, tmp_path, monkeypatch):
    """What lies in a cache is run."""
    place = tmp_path / f"snnbook-{os.getuid()}"
    if trap == "a link":
        (tmp_path / "theirs").mkdir(0o700)
        place.symlink_to(tmp_path / "theirs")
    elif trap == "a file":
        place.write_text("")
    else:
        place.mkdir(0o700)
        place.chmod(0o777 if trap == "open to others" else 0o700)
    if trap == "of another":
        user = os.getuid()
        users = iter([user])
        monkeypatch.setattr(os, "getuid", lambda: next(users, user + 1))
    with pytest.warns(RuntimeWarning, match="there is no folder that can be written to"):
        assert jit.compiled()(double)(1) == 2
    assert not list(tmp_path.rglob("*.nbc"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts as root")
def test_an_installation_that_nobody_can_write_to(tmp_path):
    """The kernel itself says no: read-only sources, no home, no temporary folder."""
    code = """
    import torch
    from snnbook import NeuronParameters, ops
    spikes, _ = ops.forward(torch.rand(5, 2, 3), torch.ones(3) / 9, NeuronParameters(), engine="cpu")
    print(int(spikes.sum()) > 0)
    """
    (tmp_path / "code.py").write_text(textwrap.dedent(code))
    script = f"""
    mount --bind {ROOT} {ROOT} && mount -o remount,ro,bind {ROOT} || exit 77
    HOME=/proc/nope TMPDIR=/proc/nope NUMBA_CACHE_DIR=/proc/nope PYTHONPATH={ROOT} {sys.executable} {tmp_path}/code.py
    """
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    if done.returncode == 77:
        pytest.skip("mounts are not allowed here")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    assert done.stderr.count("\n") <= 1


# ---- engines that cannot start ----


@pytest.mark.parametrize(
    "error",
    [
        ImportError("Numba needs NumPy 1.9 or less.\nGot NumPy 2.0."),
        OSError("Could not find or load shared object file: libllvmlite.so"),
        AttributeError("module 'llvmlite.ir' has no attribute 'Builder'"),
        ValueError("No threading layer could be loaded."),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("engine", ["cpu", "triton"])
def test_an_engine_that_cannot_start_gives_way_with_one_line(engine, error, monkeypatch):
    def broken(name):
        raise error

    monkeypatch.setattr(engines, "failures", {})
    monkeypatch.setattr(engines, "engine_of", broken)
    monkeypatch.setattr(engines, "_warn_of_reference", engines._warn_of_reference.__wrapped__)
    monkeypatch.setattr(engines, "_MISFITS", dict.fromkeys(engines.ENGINES, lambda *_: ""))
    monkeypatch.setattr(engines, "_launcher_obstacle", lambda: "")
    device = CPU if engine == "cpu" else torch.device("cuda")
    words = str(error).split("\n")[0]
    with pytest.warns(RuntimeWarning, match=f"{engine}.*{words}.* reference engine runs in its place") as said:
        assert ops.engine_name("auto", device) == "reference"
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    with pytest.raises(UserError, match=f"engine '{engine}' cannot run here: it does not start .*{words}") as caught:
        ops.engine_name(engine, device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", ["NUMBA_DISABLE_JIT=1", "NUMBA_THREADING_LAYER=nonsense"])
def test_variables_that_forbid_the_engine(variable):
    code = """
    print(int(spikes(build()).sum()))
    try:
        build("cpu")
    except ValueError as error:
        print(type(error).__name__, str(error).count("\\n"))
    """
    done = run(code, **dict([variable.split("=")]))
    assert done.stdout.splitlines()[1] == "UserError 0"
    assert done.stderr.startswith("snnbook:1: RuntimeWarning: the fast engine 'cpu' cannot run here: it does not start")


def test_the_engine_starts_in_any_mode_of_torch(monkeypatch):
    monkeypatch.setattr(engines, "failures", {})
    with torch.inference_mode(), torch.device("meta"):
        assert ops.engine_name("auto", CPU) == "cpu"


# ---- threads and forks ----


@pytest.mark.parametrize("layer", LAYERS)
def test_several_threads_call_one_network(layer):
    code = """
    net = build()
    wanted, right = spikes(net), []

    def call():
        right.extend(torch.equal(spikes(net), wanted) for _ in range(25))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(right), all(right))
    """
    assert run(code, NUMBA_THREADING_LAYER=layer).stdout == "100 True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("before", ["auto", "reference"])
def test_forked_processes_compute(layer, before):
    """By the engine where its threads allow it, else by the reference, and on one thread."""
    code = """
    import multiprocessing

    net = build()
    wanted = spikes(build(BEFORE))
    (torch.rand(1000, 1000) @ torch.rand(1000, 1000)).exp()  # starts torch's own threads

    def call(_):
        warnings.simplefilter("ignore")
        s, _ = net(images, labels=labels)
        losses.get("enhanced_counting")(s, labels).backward()
        return torch.equal(spikes(net), wanted), torch.get_num_threads(), net.spiking[0].weight.grad.abs().sum() > 0

    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(*[bool(right and threads == 1 and learns) for right, threads, learns in pool.map(call, range(4))])
    """
    done = run(code.replace("BEFORE", repr(before)), NUMBA_THREADING_LAYER=layer)
    assert done.stdout == "True True True True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_is_told_to_spawn_where_the_engine_is_named():
    """So it is in a graph that was made before the fork."""
    code = """
    net = build("cpu")
    s, _ = net(images, labels=labels)
    value = losses.get("enhanced_counting")(s, labels)
    if os.fork() == 0:
        for what in (lambda: net(images), value.backward):
            try:
                what()
            except ValueError as error:
                print(type(error).__name__, "spawn" in str(error), flush=True)
        os._exit(0)
    os.wait()
    """
    assert run(code, NUMBA_THREADING_LAYER="omp").stdout == "UserError True\n" * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_workers_of_a_loader_may_call_layers():
    code = """
    net = build()
    spikes(net)
    warnings.simplefilter("ignore")

    class Features(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, number):
            return spikes(net)[:, number]

    loader = torch.utils.data.DataLoader(Features(), batch_size=3, num_workers=2, multiprocessing_context="fork")
    print([tuple(batch.shape) for batch in loader])
    """
    assert run(code).stdout == "[(3, 5, 3), (3, 5, 3)]\n"


# ---- torch.compile ----


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "compiled_engines"),
    [("eager", ENGINES), ("aot_eager", ENGINES[:2]), ("inductor", ENGINES[:2])],
    ids=["eager", "aot_eager", "inductor"],
)
def test_networks_compile(backend, compiled_engines):
    """Spikes and gradients to the bit, in training and without gradients.

    `auto` picks one of the other engines, whatever the compiler's backend is.
    """
    if backend == "inductor" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("needs a compiler")
    code = """
    import torch._dynamo
    from snnbook import NeuronParameters, ops

    loss = losses.get("enhanced_counting")
    for engine in COMPILED:
        torch._dynamo.reset()
        plain, net = build(engine, "8C3-P2"), build(engine, "8C3-P2")
        compiled = torch.compile(net, backend=BACKEND)
        wanted = spikes(plain)
        right = [torch.equal(spikes(compiled), wanted), torch.equal(compiled(images), wanted)]
        for model in (plain, compiled):
            s, _ = model(images, labels=labels)
            loss(s, labels).backward()
        right += [torch.equal(a.grad, b.grad) for a, b in zip(plain.parameters(), net.parameters())]

        def neurons(current):
            return ops.forward(2 * current, torch.ones(3), NeuronParameters(), engine)[0] + 1

        current = torch.rand(5, 2, 3) * 9
        right.append(torch.equal(torch.compile(neurons, backend=BACKEND)(current), neurons(current)))
        print(engine, all(right))
    """
    code = code.replace("BACKEND", repr(backend)).replace("COMPILED", repr(compiled_engines))
    done = run(code, TORCHINDUCTOR_COMPILE_THREADS="1")  # a pool of compilers would first import torch in each
    assert done.stdout == "".join(f"{engine} True\n" for engine in compiled_engines)


def test_nothing_is_imported_for_a_compiler_that_is_not_used():
    code = "spikes(build())\nprint('torch._dynamo' in sys.modules)"
    assert run(code).stdout == "False\n"


def test_a_pass_outside_of_a_compiler_is_the_function_itself():
    calls = []
    assert engines.uncompiled(lambda x: calls.append(x) or x)(3) == 3
    assert calls == [3]


def test_what_was_compiled_first_decides_no_digit():
    """A function without a setting of its own takes fast mathematics over from the one that compiles it first."""
    from snnbook.ops.cpu import connected, events, images, maps, neurons

    found = {
        f"{module.__name__}.{name}": function.targetoptions.get("fastmath")
        for module in (connected, events, images, maps, neurons)
        for name, function in vars(module).items()
        if hasattr(function, "targetoptions")
    }
    assert len(found) > 20
    assert [name for name, setting in found.items() if setting is None] == []
    # The neurons' arithmetic is the reference's, in its order.
    assert {setting for name, setting in found.items() if ".neurons." in name} == {False}
