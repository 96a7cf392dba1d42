"""`bayesalloc optimize ask`: a proposal."""

from pathlib import Path

from bayesalloc.cli.optimize import designing
from bayesalloc.cli.options import DEFAULT, Common, Flag, Whole
from bayesalloc.cli.session import session, warn
from bayesalloc.errors import InputError

MOST = 100  # proposals of a batch


def ask(
    state: Path,
    *,
    batch: Whole = 1,
    goal: str = "impact",
    loss: float = 0.05,
    sweep: str | None = None,
    ahead: Flag = False,
    common: Common = DEFAULT,
) -> None:
    """Propose what to fund next, with the reasons, what to expect of it, and how sure that is; or design a mechanism.

    Asking again before anything is told gives the same proposal. Of a mechanism's design there is one answer: its
    terms, or the proof that there are none; or what a search found, where it needs one.

    Args:
        state: The state file of `start`.
        batch: How many proposals to make, each as if those before it were carried out too and had reported.
        goal: impact, or learn: also give to projects of which a report would be worth most, at a small loss of impact.
        loss: Which share of the expected impact may be lost to learn.
        sweep: LOW:HIGH, total budgets in USD between which to show what the best allocation could do.
        ahead: Take proposals that have not been told as carried out, and propose for the round after.
        common: What every command takes.
    """
    with session(common, "ask", "report.html", "allocation.csv", "results.nc") as (say, folder):
        if designing.is_design(state):
            if (batch, goal, sweep, ahead) != (1, "impact", None, False):
                raise InputError(
                    f"{state}: is of a mechanism's design; --batch, --goal, --sweep and --ahead are for allocations"
                )
            designing.ask(state, say, folder)
            return
        from bayesalloc.impact import explaining, fairness, foreseeing, proposing
        from bayesalloc.impact.state import asked, locked, save
        from bayesalloc.report import funding as documents

        if not 1 <= batch <= MOST:
            raise InputError(f"batch is {batch}; it must be from 1 to {MOST}")
        if goal not in ("impact", "learn"):
            raise InputError(f"goal is '{goal[:60]}'; it must be impact or learn")
        with locked(state) as known:
            understanding, known = proposing.understand(known)
            imagined = known
            if ahead:
                imagined = foreseeing.after_pending(known, foreseeing.pending(known), understanding)
            made = []
            for _ in range(batch):
                u, _ = proposing.understand(imagined)
                found = foreseeing.to_learn(imagined, u, loss) if goal == "learn" else None
                proposal = proposing.propose(imagined, u, found)
                known, ask = asked(known, u.projects.named(proposal.amount), imagined.rounds + 1, again=not made)
                made.append((ask, proposal))
                imagined = foreseeing.after_pending(imagined, [ask], u)
            save(state, known)
        warn(understanding.warnings)
        proposal = made[0][1]
        reasons = documents.Reasons(
            explaining.cases(known, understanding, proposal),
            explaining.rivals(understanding, proposal),
            explaining.backtest(known, understanding),
            explaining.implied_beliefs(understanding),
            explaining.moves(known, understanding, proposal),
            foreseeing.value_of_round(known, understanding, proposal.amount),
            [] if sweep is None else list(foreseeing.sweep(known, sweep)),
            explaining.curves(understanding, proposal),
            fairness.people(understanding),
            fairness.fairness(understanding, proposal),
        )
        files = folder.files("report.html", allocation="allocation.csv")
        result = documents.as_json(str(state), made, understanding, reasons, files)
        documents.write(result, understanding, reasons, folder.path)
        say(documents.text(result, reasons), result)
