"""Train a config: ``python -m experiments.train realnvp_digits [--workdir DIR] [--optimizer.learning-rate 3e-4]``.

The same command again continues an interrupted run, or prints the result of a finished one. With more steps, or other
``--optimizer``, ``--training`` or ``--augment`` options, the run goes on from its last checkpoint.
"""

import dataclasses
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import jax
import tyro
from flax import nnx

import dgmjax as dgm
from experiments.configs import config_names, load_config
from experiments.run.data import load_data
from experiments.run.pictures import ProgressPictures, write_pictures
from experiments.run.results import finished_result, print_result, write_result
from experiments.run.runtime import Runtime, fail
from experiments.run.surgery import SurgeryLog
from experiments.run.tensorboard import Events, event_writer
from experiments.settings.config import Config, config_from_dict
from experiments.settings.smoke import smoke

# Groups of options with which a run may go on; the rest says which run it is.
MAY_CHANGE = ("optimizer", "training", "augment")


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a run besides its config."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    workdir: pathlib.Path | None = None
    """Run directory; default runs/<config>. One that all processes share, if there are several."""
    smoke: bool = False
    """A small version on real data, in a minute: does everything fit together?"""
    resume: bool = False
    """Insist on continuing: fail if the run directory holds no run."""
    debug_nans: bool = False
    """Stop at the first number that is not finite, and say which layer made it; slow."""
    surgery: bool = False
    """For a VAE: take the ELBO apart at every evaluation, into surgery.jsonl and TensorBoard."""
    profile: bool = False
    """Write a trace of steps 11 to 20 into the run directory, for the profiler."""
    runtime: Annotated[Runtime, tyro.conf.arg(name="")] = Runtime()


@dgm.training.one_run_at_a_time
def train(
    config: Config, options: Options | None = None, *, workdir: pathlib.Path
) -> dict[str, Any]:
    """Train, select on validation, test once, write the pictures; returns what ``result.json`` holds."""
    options = Options(config) if options is None else options
    agree, is_first = dgm.training.agree, dgm.training.is_first()
    settings = settings_of(config)
    of_file: dict[str, Any] = {"complete": _completed}
    changes = agree(lambda: dgm.training.claim(workdir, settings, may_change=MAY_CHANGE, **of_file))
    result = agree(lambda: finished_result(workdir))
    if result is not None and not changes:
        return result
    if is_first and any((workdir / "checkpoints").glob("*/")):
        print(f"continuing the run in {workdir}", flush=True)
        for name, (before, now) in changes.items():
            print(f"  {name}: {before} before, {now} from here on", flush=True)
    started = time.perf_counter()
    dataset = load_data(config)
    model = config.model.build(
        dataset,
        nnx.Rngs(config.seed),
        conditional=config.conditional,
        dequantization=config.dequantization,
    )
    if config.init_from is not None:  # also in a run that goes on, whose checkpoint may be damaged
        transferred = dgm.training.transfer(model, config.init_from)
        model = transferred.model
        if is_first:
            print(f"weights of {config.init_from}: {transferred}", flush=True)
    training = config.training
    optimizer = dgm.training.default_optimizer(
        steps=training.steps, **dataclasses.asdict(config.optimizer)
    )
    augment = config.augment.build(dataset.image_shape)
    labelled = config.conditional or config.model.uses_labels
    contexts = {
        split: dataset.contexts(split) if labelled else None
        for split in ("train", "validation", "test")
    }
    validation_loss = config.model.validation_loss()
    selecting: dict[str, Any] = {"patience": None}
    if validation_loss is not None:
        selecting = {
            "validation": dataset.validation,
            "validation_context": contexts["validation"],
            "validation_loss": validation_loss,
            "monitor": config.model.monitor,
        }
    truth = dgm.data.TOYS.get(config.data)
    parallel = options.runtime.parallel(training.batch_size, training.accumulate)
    length = dataclasses.asdict(training)
    execution = {name: length.pop(name) for name in ("accumulate", "steps_per_call")}
    if options.surgery and not isinstance(model, dgm.VAE):
        raise ValueError(
            f"--surgery: takes VAEs apart, and {config.name} is a {type(model).__name__}."
        )

    def watchers(events: Events) -> list[Callable[[int, Any], None]]:
        found: list[Callable[[int, Any], None]] = [
            ProgressPictures(config, dataset, truth, workdir, events)
        ]
        if options.surgery and is_first:
            found.append(SurgeryLog(dataset.train, workdir, events, seed=config.seed))
        return found

    def begin(step: int) -> None:
        """All is checked: the settings are those of the run from here on, and a result of before is none of it."""

        def record() -> None:
            if changes:
                (workdir / "result.json").unlink(missing_ok=True)
            dgm.training.record_changes(workdir, settings, step=step, **of_file)

        agree(record)

    if is_first:
        print(dgm.summary(model), flush=True)
    with event_writer(workdir) as events:
        fitted = dgm.fit(
            model,
            dataset.train,
            context=contexts["train"],
            seed=jax.random.key(config.seed),
            optimizer=config.model.optimizers(optimizer),
            augment=augment,
            workdir=workdir,
            loss=config.model.loss(),
            execution=dgm.Execution(parallel=parallel, **execution),
            watch=dgm.Watch(
                on_start=begin,
                on_record=events.write,
                on_compile=print_cost if is_first else None,
                on_evaluation=_in_turn(watchers(events)),
                debug_nans=options.debug_nans,
                profile=workdir / "profile" if options.profile else None,
                settings={"optimizer": dataclasses.asdict(config.optimizer)},
            ),
            **length | selecting,
        )
    numbers = {
        split: config.model.measure(
            fitted.model, getattr(dataset, split), contexts[split], seed=config.seed
        )
        for split in ("validation", "test")
    }

    def finish() -> dict[str, Any]:
        dgm.save(workdir / "model", fitted.model)
        write_pictures(workdir, config, fitted, dataset, truth)
        seconds = time.perf_counter() - started
        return write_result(workdir, config, dataset, truth, fitted, numbers, seconds=seconds)

    return agree(finish)


def _in_turn(watchers: list[Callable[[int, Any], None]]) -> Callable[[int, Any], None]:
    def call(step: int, model: Any) -> None:
        for watcher in watchers:
            watcher(step, model)

    return call


def print_cost(program: dgm.training.Program) -> None:
    """One line on the compiled step."""
    mebi = 2**20
    parts = [f"compiled in {program.compile_seconds:.1f} s"]
    if program.flops is not None:
        parts.append(f"{program.flops / 1e9:.3g} GFLOP a step")
    parts.append(f"state {(program.state_bytes or 0) / mebi:.1f} MiB")
    if program.working_bytes is not None:
        parts.append(f"working memory {program.working_bytes / mebi:.1f} MiB")
    print(", ".join(parts) + " (a device)", flush=True)


def settings_of(config: Config) -> dict[str, Any]:
    """The settings for ``config.json``; files are named by their full path, so the run can be read from anywhere."""
    data, source = config.data, config.init_from
    if data.endswith((".npy", ".npz")):
        data = str(pathlib.Path(data).absolute())
    if source is not None:
        source = str(pathlib.Path(source).absolute())
    return dataclasses.asdict(dataclasses.replace(config, data=data, init_from=source))


def _completed(settings: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.asdict(config_from_dict(settings))


def _check_resume(options: Options, workdir: pathlib.Path) -> None:
    if options.resume and not (workdir / "config.json").exists():
        raise ValueError(f"--resume: {workdir} holds no run to continue; leave --resume out.")


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    usage = f"usage: python -m experiments.train CONFIG [options]\nCONFIG is one of: {', '.join(config_names())}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage + "\nOptions of a config: python -m experiments.train CONFIG --help")
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    try:
        default = Options(config=load_config(name))
        options = tyro.cli(
            Options, args=rest, default=default, prog=f"python -m experiments.train {name}"
        )
        if options.smoke:
            options = dataclasses.replace(options, config=smoke(options.config))
        options.runtime.start(options)
        if options.smoke and dgm.training.is_first():
            print(f"smoke: a small {name} on {options.config.data}; its number means nothing.")
        workdir = options.workdir or pathlib.Path("runs") / options.config.name
        dgm.training.agree(lambda: _check_resume(options, workdir))
        result = train(options.config, options, workdir=workdir)
        if dgm.training.is_first():
            print_result(options.config, result, workdir)
    except dgm.training.PreemptedError as stop:
        print(stop, flush=True)
        raise SystemExit(143) from None  # 128 + SIGTERM, what schedulers expect
    except KeyboardInterrupt:
        raise SystemExit(
            "interrupted; the same command continues from the last checkpoint"
        ) from None
    except (ValueError, TypeError, OSError, RuntimeError, ImportError, FloatingPointError) as error:
        fail(error)
