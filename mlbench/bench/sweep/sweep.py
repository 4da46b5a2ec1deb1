"""A sweep: many configurations, measured in turns, saved trial by trial.

    plan --> rounds, in shuffled order --> turn of a configuration --> its search --> trial saved
                 ^                                                        |
                 +---- until each has its precision, or spent its budget -+

A configuration is an `Entry`; its pool comes from `Pools`; `SweepFolder` is what is saved.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlbench.bench.accuracy import check_accuracy
from mlbench.bench.events import Event, Listener, Noted, Prepared, SweepProgress, to_all
from mlbench.bench.failover import play, tell_faults
from mlbench.bench.limits import check_queries
from mlbench.bench.pool import shape_of
from mlbench.bench.run import why_no_accuracy
from mlbench.bench.settings import RunSettings
from mlbench.bench.sweep.draw import Draws, part
from mlbench.bench.sweep.entry import Entry, search_plan
from mlbench.bench.sweep.plan import Configuration, SweepPlan, make_plan, read_file
from mlbench.bench.sweep.pools import Pools, WarmPool
from mlbench.bench.sweep.racing import look
from mlbench.bench.sweep.rounds import next_round, shuffled
from mlbench.bench.sweep.standing import SweepStanding, Tuning
from mlbench.bench.sweep.state import SweepFolder, TrialsFolder
from mlbench.bench.sweep.trial_file import SavedTrial
from mlbench.bench.sweep.winners import find_winners
from mlbench.contracts.errors import MlbenchError, RunError
from mlbench.host.signals import held
from mlbench.outcomes import TrialRequest
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.trial.schedule import make_schedule

Judge = Callable[[Sequence[Entry]], bool]


def sweep(
    file: Path, folder: Path, listeners: Sequence[Listener] = (), tune: int | None = None
) -> SweepStanding:
    """Measure the configurations of a YAML file, and return how they stand in the end.

    Results go to `folder`; what is there already is not measured again. With `tune` at most so many
    configurations are drawn, and raced. Raises RequestError for what cannot be done, before
    anything is measured, and RunError when the disk refuses. A configuration that fails is no
    error: its standing says why.
    """
    plan = make_plan(read_file(file), folder.absolute(), os.environ)
    return measure(plan, folder, listeners, tune=tune)


def measure(
    plan: SweepPlan,
    folder: Path,
    listeners: Sequence[Listener] = (),
    *,
    tune: int | None = None,
    judge: Judge | None = None,
) -> SweepStanding:
    """Measure the configurations of a plan; all else is as in `sweep`.

    `judge` hears of the configurations after each round, and says whether that is enough.
    """
    with SweepFolder(folder.absolute(), plan.seed) as saved, Pools() as pools:
        return _Sweep(plan, saved, pools, to_all(listeners), tune, judge).run()


class _Sweep:
    """The rounds of a sweep."""

    def __init__(
        self,
        plan: SweepPlan,
        saved: SweepFolder,
        pools: Pools,
        tell: Listener,
        tune: int | None,
        judge: Judge | None,
    ) -> None:
        self._plan, self._saved, self._pools, self._tell = plan, saved, pools, tell
        self._judge = judge
        self._seed = saved.state.seed
        grid = [one.with_seed(self._seed) for one in plan.configurations]
        self._most = min(tune or len(grid), len(grid))
        self._draws = Draws(grid, self._most, self._seed) if self._most < len(grid) else None
        self._budget_s = plan.budget_s * self._most / len(grid)
        self._races = plan.keep == "best" or tune is not None
        self._entries: list[Entry] = []
        self._folders: dict[str, TrialsFolder] = {}
        self._round = 0
        self._turn: str | None = None
        drawn = saved.state.drawn if self._draws else [one.name for one in grid]
        by_name = {one.name: one for one in grid}
        self._known = [by_name[name] for name in drawn if name in by_name]

    def run(self) -> SweepStanding:
        """Go on with what is saved, until no configuration wants another turn."""
        try:
            for configuration in self._known:
                self._enter(configuration)
            if self._races:
                self._look()
            live = self._live()
            self._tell_progress()
            while live:
                self._round = next_round([entry.rounds for entry in self._entries])
                for entry in shuffled(live, self._seed, self._round):
                    self._turn = entry.name
                    self._take_turn(entry)
                    if not entry.is_live:
                        self._pools.close(entry.name)
                    self._tell_progress()
                if self._races:
                    self._look()
                elif self._judge is not None and self._judge(self._entries):
                    for entry in live:
                        entry.finish()
                live = self._live()
        finally:
            if self._entries:
                with held():
                    self._tell_progress()
        return self._standing()

    def _live(self) -> list[Entry]:
        """Return who has a turn in the next round, with those that are drawn for it."""
        count = len(self._entries)
        if self._draws is not None and count < self._most:
            standings = [entry.standing() for entry in self._entries]
            drawn = self._draws.next(part(count, self._most), standings)
            names = [entry.name for entry in self._entries] + [one.name for one in drawn]
            self._saved.save_state(drawn=names)
            for configuration in drawn:
                self._enter(configuration)
        return [entry for entry in self._entries if entry.is_live]

    def _look(self) -> None:
        """Drop what surely loses, save that, and end its workers."""
        look(self._entries, self._budget_s)
        lost = {entry.name: list(entry.lost.items()) for entry in self._entries if entry.lost}
        self._saved.save_state(lost=lost)
        for entry in self._entries:
            if entry.state == "dropped":
                self._pools.close(entry.name)

    def _enter(self, configuration: Configuration) -> None:
        """Take in a configuration, with what an earlier process has measured of it."""
        entry, folder = Entry(configuration), self._saved.trials_of(configuration)
        self._entries.append(entry)
        self._folders[entry.name] = folder
        if (about := folder.about) is None:
            return
        for key, winner in self._saved.state.lost.get(entry.name, ()):
            entry.lose(key, winner)
        settings = entry.configuration.settings
        queue = Queue(about.workers, settings.batch_size, settings.batch_timeout_s)
        plan = search_plan(settings, queue, about.first_guess_qps, self._plan.pace)
        entry.begin(plan, folder.load())
        entry.accuracy, entry.served = folder.accuracy(), about.served
        if not self._races and self._judge is None:
            entry.finish_if_done()

    def _take_turn(self, entry: Entry) -> None:
        """Play the trials of a configuration's turn; note why, where that fails."""
        entry.finish_if_done()
        if not entry.is_live:
            return
        with self._failing(entry):
            warm = self._pools.of(entry.name, self._settings(entry), self._hearing(entry))
            self._begin(entry, warm)
            self._check_accuracy(entry, warm)
        for request in entry.turn() if entry.is_live else ():
            with self._failing(entry):
                completions = self._play(warm, request)
            if not entry.is_live:
                return
            with held():
                saved = SavedTrial(self._round, request, completions)
                self._folders[entry.name].save(saved)
                entry.record(self._round, request, completions)

    @contextmanager
    def _failing(self, entry: Entry) -> Iterator[None]:
        """Note an error of this block as the configuration's."""
        try:
            yield
        except MlbenchError as error:
            entry.fail(str(error))

    def _settings(self, entry: Entry) -> RunSettings:
        """Return its settings, with the workers that it had when its trials began."""
        settings, about = entry.configuration.settings, self._folders[entry.name].about
        if about is None or about.workers_per_device is None:
            return settings
        layout = {"workers_per_device": about.workers_per_device, "threads": about.threads}
        return settings.model_copy(update=layout)

    def _hearing(self, entry: Entry) -> Listener:
        """Return a listener that keeps what is found about a configuration as a whole."""

        def hear(event: Event) -> None:
            match event:
                case Noted(finding):
                    entry.findings.append(finding)
                case Prepared(served):
                    entry.served = served
            self._tell(event)

        return hear

    def _begin(self, entry: Entry, warm: WarmPool) -> None:
        """Begin the search with the first pool; raise RunError for another one of other workers."""
        folder, settings, pool = self._folders[entry.name], entry.configuration.settings, warm.pool
        if entry.search is not None and folder.about is not None:
            if pool.size != folder.about.workers:
                raise RunError(
                    f"{pool.size} workers now, {folder.about.workers} when it was begun: set "
                    "workers_per_device"
                )
            return
        about = folder.begin(pool.size, *_layout(warm), pool.saturated_qps, entry.served)
        queue = shape_of(pool, settings)
        entry.begin(search_plan(settings, queue, about.first_guess_qps, self._plan.pace))

    def _check_accuracy(self, entry: Entry, warm: WarmPool) -> None:
        settings = entry.configuration.settings
        if entry.accuracy is not None or why_no_accuracy(settings, warm.job) is not None:
            return
        tell = self._hearing(entry)
        entry.accuracy = check_accuracy(warm.pool, warm.job.samples, settings.accuracy_target, tell)
        self._folders[entry.name].save_accuracy(*entry.accuracy)

    def _play(self, warm: WarmPool, request: TrialRequest) -> Completions:
        def spoiled(completions: Completions) -> None:
            tell_faults(self._tell, completions)

        check_queries(request.queries, "time")
        kind, qps = request.kind, request.target_qps
        schedule = make_schedule(kind, qps, request.queries, request.seed)
        return play(warm.pool, schedule, request.max_backlog_s, spoiled=spoiled)

    def _tell_progress(self) -> None:
        self._tell(SweepProgress(self._standing()))

    def _standing(self) -> SweepStanding:
        state = self._saved.state
        standings = [entry.standing() for entry in self._entries]
        return SweepStanding(
            self._saved.path,
            state.id,
            state.started,
            self._plan.content,
            self._budget_s,
            self._round,
            self._turn,
            standings,
            find_winners(standings),
            Tuning(self._most, len(self._plan.configurations)) if self._draws else None,
        )


def _layout(warm: WarmPool) -> tuple[int | None, int | None]:
    """Return the workers of each device, and their threads, where all devices have the same."""
    places = [(spec.device.name, spec.threads) for spec in warm.job.specs]
    counts = {sum(name == other for other, _ in places) for name, _ in places}
    threads = {own for _, own in places}
    if len(counts) > 1 or len(threads) > 1:
        return None, None
    return counts.pop(), threads.pop()
