"""Every command of ``fairshare``, by typer. A command reads its options, calls one function of the route, and shows the result."""

import sys
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from core.clock import system_clock
from core.scope import Role
from fairshare.options import AnyTenant, Data, Json, Tenant, settings_of
from fairshare.output import progress, say, show
from fairshare.track import TRACKER_ID, Track, start_tracker

app = typer.Typer(
    name="fairshare",
    help="Affiliate tracking and attribution: from the click to the payout, every cent explained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
catalog = typer.Typer(no_args_is_help=True, help="Merchants, programmes, affiliates, links, rules: in and out as one TOML file.")
user = typer.Typer(no_args_is_help=True, help="People who sign in to the portal.")
app.add_typer(catalog, name="catalog", rich_help_panel="Set up")
app.add_typer(user, name="user", rich_help_panel="Set up")
identity = typer.Typer(no_args_is_help=True, help="Who belongs together and why; links that do not count; identifiers to be forgotten.")
app.add_typer(identity, name="identity", rich_help_panel="Ask and check")
imports = typer.Typer(no_args_is_help=True, help="Another system's history: touches, leads and orders from a CSV file, by a map.")
app.add_typer(imports, name="import", rich_help_panel="Set up")
rates = typer.Typer(no_args_is_help=True, help="Exchange rates, for commissions in other currencies than the order's.")
app.add_typer(rates, name="rates", rich_help_panel="Set up")

RUN, SET_UP, ASK = "Run", "Set up", "Ask and check"
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]


# --- run -------------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=RUN)
def up(
    data: Data = None,
    tracker_port: Annotated[
        int | None, typer.Option(metavar="N", help="Port of links and conversions (default: 8700).", show_default=False)
    ] = None,
    portal_port: Annotated[int | None, typer.Option(metavar="N", help="Port of pages and API (default: 8701).", show_default=False)] = None,
    trackers: Annotated[int | None, typer.Option(metavar="N", help="Tracker processes (default: 1).", show_default=False)] = None,
    demo: Annotated[
        bool | None,
        typer.Option(
            "--demo/--no-demo", help="Fill an empty installation with the demo world (default: where no server is set).", show_default=False
        ),
    ] = None,
    ready_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Written as JSON once everything answers.")] = None,
) -> None:
    """Start everything on this machine: stores, trackers, portal. Ctrl-C stops it; nothing is lost."""
    from fairshare.ready import as_text, read_demo, ready_of, write_ready_file
    from fairshare.up import Supervisor

    settings = settings_of(data, tracker_port=tracker_port, portal_port=portal_port, trackers=trackers)
    supervisor = Supervisor(settings, demo=settings.is_embedded if demo is None else demo, ready_file=ready_file)
    try:
        supervisor.start(say)
        if not supervisor.stopping:
            ready = ready_of(settings, read_demo(settings.data))
            show(ready, as_text(ready), as_json=False)
            sys.stdout.flush()
            if ready_file:
                write_ready_file(ready_file, ready)
        supervisor.watch(say)
        say("stopping ...")
    finally:
        supervisor.stop()


@app.command(rich_help_panel=RUN)
def track(
    data: Data = None,
    tracker_id: Annotated[str, typer.Option(metavar="ID", help="Names this tracker's spool folder.")] = TRACKER_ID,
    supervised: Supervised = False,
) -> None:
    """Run one tracker process: redirects, pixels, conversions."""
    start_tracker(Track(data, tracker_id, supervised))


@app.command(hidden=True)
def engine(
    data: Data = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo")] = False,
    supervised: Supervised = False,
) -> None:
    """Run the process that owns the embedded stores."""
    from fairshare.child import stop_with_supervisor
    from fairshare.engine import run_engine

    if supervised:
        stop_with_supervisor()
    run_engine(settings_of(data), demo)


@app.command(rich_help_panel=RUN)
def portal(data: Data = None) -> None:
    """Run the portal alone, on stores that servers hold."""
    from fairshare.parts import run_portal

    run_portal(settings_of(data))


@app.command(rich_help_panel=RUN)
def drain(
    data: Data = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when everything readable is stored.")] = False,
    as_json: Json = False,
) -> None:
    """Move recorded events from the queue into the events store."""
    from fairshare.parts import drain_once, run_drain_alone

    if not once:
        run_drain_alone(settings_of(data))
        return
    with progress("draining") as advance:
        report = drain_once(settings_of(data), advance)
    show(report, f"{report.records:,} records read, {report.bad:,} bad, {report.pending_bytes:,} bytes pending", as_json)


@app.command(rich_help_panel=RUN)
def relay(data: Data = None, supervised: Supervised = False) -> None:
    """Pass what this machine's trackers recorded on to Redis, for a drain elsewhere."""
    from fairshare.relay import start_relay

    start_relay(settings_of(data), supervised)


@app.command(rich_help_panel=RUN)
def attribute(
    data: Data = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when every order that changed is decided.")] = False,
    as_json: Json = False,
) -> None:
    """Decide orders whose touches, keys or rules changed, and book the commissions."""
    from fairshare.parts import attribute_once, attribution_as_text, run_attribution_alone

    if not once:
        run_attribution_alone(settings_of(data))
        return
    with progress("deciding orders") as advance:
        report = attribute_once(settings_of(data), advance)
    show(report, attribution_as_text(report), as_json)


# --- set up ----------------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=SET_UP)
def migrate(
    data: Data = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL, change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Bring both stores to this program's version."""
    from fairshare.stores import migrate_stores, pending_sql

    settings = settings_of(data)
    if dry_run:
        sql = pending_sql(settings)
        show({"sql": sql}, sql or "-- both stores are up to date", as_json)
        return
    applied = migrate_stores(settings)
    show({"applied": applied}, "\n".join(applied) or "both stores are up to date", as_json)


@catalog.command("import")
def catalog_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE.toml")], data: Data = None, as_json: Json = False
) -> None:
    """Add and update what the file names: all of it, or nothing and every error with its line."""
    from fairshare.books import opened_books
    from fairshare.catalog import import_catalogue
    from fairshare.questions import import_as_text
    from fairshare.stores import migrate_stores
    from fairshare.text_file import read_text_file

    settings, text = settings_of(data), read_text_file(file)
    migrate_stores(settings)
    with opened_books(settings) as books:
        report = import_catalogue(books, text, "command line", system_clock())
    show(report, import_as_text(report, file.name), as_json)
    if report.faults:
        sys.exit(1)


@catalog.command("export")
def catalog_export(data: Data = None, tenant: AnyTenant = None) -> None:
    """Print the catalogue as TOML; importing it elsewhere gives the same catalogue."""
    from fairshare.books import opened_books
    from fairshare.catalog import export_catalogue

    with opened_books(settings_of(data)) as books:
        sys.stdout.write(export_catalogue(books, tenant))


@user.command("add")
def user_add(
    email: str,
    role: Annotated[str, typer.Option(help="affiliate, merchant, finance or analyst")],
    name: Annotated[str, typer.Option(help="As shown to others.")] = "",
    tenant: AnyTenant = None,
    affiliate: Annotated[str | None, typer.Option(metavar="ID", help="For the role affiliate.", show_default=False)] = None,
    data: Data = None,
) -> None:
    """Add a person, or give one a new password. Asks for the password, or reads it from standard input."""
    from core.catalogue import User
    from fairshare.books import opened_books
    from fairshare.people import save_user

    typed = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    person = User(email, name or email, cast(Role, role), "", tenant or "", affiliate or "")
    with opened_books(settings_of(data)) as books:
        save_user(books, person, typed, system_clock())
    say(f"{email} may sign in as {role}")


Csv = Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE.csv")]
Mapped = Annotated[
    Path, typer.Option("--map", exists=True, dir_okay=False, metavar="MAP.toml", help="Which column is what (docs/import.md).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, show the first rows, write nothing.")]


@imports.command("touches")
def import_touches(file: Csv, map_file: Mapped, dry_run: DryRun = False, data: Data = None, as_json: Json = False) -> None:
    """Clicks and other touches: import them first, so that orders find them."""
    _import("touches", file, map_file, dry_run, data, as_json)


@imports.command("leads")
def import_leads(file: Csv, map_file: Mapped, dry_run: DryRun = False, data: Data = None, as_json: Json = False) -> None:
    """Sign-ups and other steps that say who a visitor is."""
    _import("leads", file, map_file, dry_run, data, as_json)


@imports.command("orders")
def import_orders(file: Csv, map_file: Mapped, dry_run: DryRun = False, data: Data = None, as_json: Json = False) -> None:
    """Orders: decided and booked like those that are sent."""
    _import("orders", file, map_file, dry_run, data, as_json)


def _import(
    subject: Literal["touches", "leads", "orders"], file: Path, map_file: Path, dry_run: bool, data: Path | None, as_json: bool
) -> None:
    from fairshare.importing import as_plain, as_text, import_file

    with progress(f"importing {subject}") as advance:
        found = import_file(settings_of(data), system_clock, subject, file, map_file, dry_run, advance)
    show(as_plain(found), as_text(found, file.name, map_file.name), as_json)
    if not found.is_whole:
        sys.exit(1)


@rates.command("import")
def rates_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="CSV, XML or zip, as the ECB publishes it.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Add the European Central Bank's reference rates of a file; what is there already stays as it is."""
    from fairshare.rates import as_text, import_file

    with progress("importing rates") as advance:
        report = import_file(settings_of(data), system_clock, file, advance)
    show(report, as_text(report, file.name), as_json)
    if report.faults:
        sys.exit(1)


@rates.command("list")
def rates_list(
    data: Data = None,
    days: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="In the JSON: the values of so many of the newest days.")] = 7,
    as_json: Json = False,
) -> None:
    """What is there of each currency, and its last value."""
    from fairshare.rates import listed

    found, text = listed(settings_of(data), days)
    show(found, text, as_json)


# --- ask and check ---------------------------------------------------------------------------------------------------


@app.command(rich_help_panel=ASK)
def explain(order: str, tenant: Tenant, data: Data = None, as_json: Json = False) -> None:
    """Who earned from an order (or a lead, as lead:ID), and why: every touch that could have, with its verdict."""
    from fairshare.questions import explain_order

    explanation, text = explain_order(settings_of(data), tenant, order)
    show(explanation, text, as_json)


@app.command(rich_help_panel=ASK)
def replay(
    tenant: Tenant,
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="Orders from here on.")],
    policy: Annotated[
        Path,
        typer.Option(
            metavar="FILE.toml", exists=True, dir_okay=False, help="A catalogue file with the policies that stand in for those in force."
        ),
    ],
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Orders before this (default: now).", show_default=False)] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the policies for this period, and book the differences.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What other policies would have changed in a period: per affiliate and order. Ctrl-C stops; the same command goes on."""
    from fairshare.replay import apply_answer, as_plain, as_text, plan_as_text, replay_period

    if apply and as_json and not yes:
        raise typer.BadParameter("with --json there is nobody to ask: give --yes too")
    settings = settings_of(data)
    try:
        with progress("deciding again") as advance:
            answer = replay_period(settings, system_clock, tenant, from_, to, policy, advance)
    except KeyboardInterrupt:
        say("stopped; what was found is kept, and the same command goes on from here")
        sys.exit(130)
    show(as_plain(answer), as_text(answer), as_json)
    if apply and answer.plan is None:
        say(f"nothing was applied: {answer.refusal}")
    elif apply and answer.plan is not None:
        say(plan_as_text(answer.plan))
        if not yes and not typer.confirm("Apply?", err=True):
            say("nothing was written")
            sys.exit(1)
        apply_answer(settings, system_clock, answer)
        say("applied: the orders are decided anew by the running engine, or by fairshare attribute --once")


@app.command(rich_help_panel=ASK)
def simulate(
    tenant: Tenant,
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="Orders from here on.")],
    rate_card: Annotated[
        Path,
        typer.Option("--rate-card", metavar="FILE.toml", exists=True, dir_okay=False, help="A catalogue file with the rate cards to try."),
    ],
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Orders before this (default: now).", show_default=False)] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What other rate cards would have paid for a period: cost, winners, losers, and why orders earn nothing. Nothing is written."""
    from fairshare.simulate import as_plain, as_text, simulate_period

    with progress("simulating") as advance:
        found = simulate_period(settings_of(data), system_clock, tenant, from_, to, rate_card, advance)
    show(as_plain(found), as_text(found), as_json)


@app.command(rich_help_panel=ASK)
def reasons(
    tenant: Tenant,
    from_: Annotated[str, typer.Option("--from", metavar="TIME", help="Orders from here on.")],
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Orders before this (default: now).", show_default=False)] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Why orders earned nothing: each has one outcome, and they sum to 100 % of the orders placed."""
    from fairshare.simulate import reasons_of_period, report_as_plain, report_as_text

    with progress("counting orders") as advance:
        found = reasons_of_period(settings_of(data), system_clock, tenant, from_, to, advance)
    show(report_as_plain(found), report_as_text(found), as_json)


@app.command(rich_help_panel=ASK)
def models(
    data: Data = None,
    paths: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", exists=True, dir_okay=False, help="Compare over these paths instead.", show_default=False),
    ] = None,
    tenant: AnyTenant = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Orders from here on.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Orders before this.", show_default=False)] = None,
    order: Annotated[int, typer.Option(min=1, max=3, metavar="N", help="Of the Markov model: touches in a state, 1 to 3.")] = 1,
    nulls: Annotated[
        bool | None, typer.Option("--nulls/--no-nulls", help="Whether Markov counts journeys without an order.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Attribution models side by side: over a merchant's orders of a period, or over a file of paths."""
    from fairshare.compare import compare_orders, compare_paths, read_asked

    if paths is not None and (tenant or from_ or to):
        raise typer.BadParameter("compare either --paths, or the orders of --tenant")
    if paths is not None:
        found, text = compare_paths(paths, order, nulls)
    else:
        with progress("reading journeys") as advance:
            found, text = compare_orders(settings_of(data), read_asked(tenant, from_, to, order, nulls), advance)
    show(found, text, as_json)


@app.command(rich_help_panel=ASK)
def verify(
    data: Data = None,
    tenant: AnyTenant = None,
    full: Annotated[bool, typer.Option("--full", help="From the first entry, whatever was verified before.")] = False,
    as_json: Json = False,
) -> None:
    """Check the ledger's new entries, or with --full every hash and balance; name the first broken row."""
    from fairshare.questions import verify_books

    with progress("verifying") as advance:
        report, plain, text = verify_books(settings_of(data), tenant, full, advance)
    show(plain, text, as_json)
    if not report.ok:
        sys.exit(1)


@app.command(rich_help_panel=ASK)
def recompute(tenant: Tenant, data: Data = None, as_json: Json = False) -> None:
    """Price every order anew from what it was priced on; name each cent and each hash that differs."""
    from fairshare.questions import recompute_commissions

    with progress("recomputing") as advance:
        report, plain, text = recompute_commissions(settings_of(data), tenant, advance)
    show(plain, text, as_json)
    if not report.ok:
        sys.exit(1)


@app.command(rich_help_panel=ASK)
def anchor(data: Data = None, as_json: Json = False) -> None:
    """Write down the head of every merchant's ledger outside the database; the running engine does it once a day."""
    from fairshare.ledgers import anchor_heads

    plain, text = anchor_heads(settings_of(data), system_clock)
    show(plain, text, as_json)


@app.command(rich_help_panel=ASK)
def adjust(
    tenant: Tenant,
    affiliate: Annotated[str, typer.Option(metavar="ID", help="Who gets it, or gives it.")],
    amount: Annotated[str, typer.Option(metavar="AMOUNT", help="Such as 12.50; -12.50 takes.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept for ever, and shown in the statement.")],
    by: Annotated[str, typer.Option(metavar="EMAIL", help="The finance user who proposes it.")],
    currency: Annotated[str, typer.Option(metavar="CODE", help="Default: the merchant's.", show_default=False)] = "",
    programme: Annotated[str, typer.Option(metavar="ID", help="Needed where the affiliate joined several.", show_default=False)] = "",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Propose a manual adjustment. Within the merchant's limit it is booked at once; above it a second person approves in the portal."""
    from fairshare.ledgers import adjust as propose
    from payouts.adjustments import Proposal

    proposal = Proposal(affiliate, 0, currency.upper(), reason, programme)
    made, text = propose(settings_of(data), system_clock, tenant, proposal, amount, by)
    show(made, text, as_json)


@app.command(rich_help_panel=ASK)
def conserve(data: Data = None, tenant: AnyTenant = None, as_json: Json = False) -> None:
    """Received = stored + bad + pending + unrecorded, by merchant and hour; exit code 1 where that does not hold."""
    from fairshare.questions import conservation_report

    report, text = conservation_report(settings_of(data), tenant)
    show(report, text, as_json)
    if not report["balanced"]:
        sys.exit(1)


@app.command("replay-log", rich_help_panel=ASK)
def replay_log(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE")],
    link: Annotated[str, typer.Option(metavar="CODE", help="The link every line clicks.")],
    base: Annotated[str, typer.Option(metavar="URL", help="The tracker's address.")],
    rate: Annotated[float, typer.Option(metavar="N", help="Requests a second; 0 sends as fast as answers come.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Send the lines of a web server's access log as clicks over HTTP, and report what became of them."""
    from fairshare.questions import replay

    with progress("replaying") as advance:
        report, text = replay(settings_of(data), file, link, base, rate, advance)
    show(report, text, as_json)


# --- identity --------------------------------------------------------------------------------------------------------

Key = Annotated[str, typer.Argument(metavar="KEY", help="As stored (em:3f2a…, v:VISITOR), or email:ADDRESS, phone:NUMBER, visitor:ID …")]


@identity.command("alarms")
def identity_alarms(tenant: Tenant, data: Data = None, as_json: Json = False) -> None:
    """Persons with too many keys, and the key that glued each together."""
    from fairshare.identity import alarms, alarms_as_text

    found = alarms(settings_of(data), tenant)
    show(found, alarms_as_text(found), as_json)


@identity.command("show")
def identity_show(key: Key, tenant: Tenant, data: Data = None, as_json: Json = False) -> None:
    """The person of a key: its other keys, and the events that link them."""
    from fairshare.identity import portrait_as_text, show_person

    found = show_person(settings_of(data), tenant, key)
    show(found, portrait_as_text(found), as_json)


@identity.command("revoke")
def identity_revoke(
    key: Key,
    tenant: Tenant,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Kept beside the revocation.")],
    other: Annotated[str, typer.Argument(metavar="[OTHER]", help="The key it is linked with; without one, all of its links.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
) -> None:
    """Let a link count as if it had never been. This cannot be taken back."""
    from fairshare.identity import plan_revocation, revocation_as_text, revoke

    settings = settings_of(data)
    found = plan_revocation(settings, tenant, key, other)
    say(revocation_as_text(found))
    if not yes and not typer.confirm("Revoke it?", err=True):
        say("nothing was revoked")
        sys.exit(1)
    revoke(settings, found, reason, system_clock)
    say("revoked; what changes by it is decided anew within seconds, up to each order's lock date")


@identity.command("erase")
def identity_erase(
    tenant: Tenant,
    key: Annotated[str, typer.Argument(metavar="[KEY]", help="As stored, or email:ADDRESS, phone:NUMBER, visitor:ID …")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the copies, change nothing.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Erase what was erased before and has come back from the spool.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Forget an identifier: every copy goes, every credited cent stays. This cannot be taken back."""
    from fairshare.identity import SPOOL_NOTE, erasure_as_text, forget, forget_again, plan
    from fairshare.identity import as_json as erasure_as_json

    if again == bool(key):
        raise typer.BadParameter("name a key, or --again" if not key else "name either a key, or --again")
    if as_json and not (again or dry_run or yes):
        raise typer.BadParameter("with --json there is nobody to ask: give --yes or --dry-run too")
    settings = settings_of(data)
    if again:
        count = forget_again(settings, tenant, system_clock)
        show({"erased_again": count}, f"{count} identifiers had come back and were erased again", as_json)
        return
    found, named = plan(settings, tenant, key)
    if dry_run or not yes:
        show(erasure_as_json(found, named), erasure_as_text(found, named, is_plan=True), as_json)
    if dry_run:
        return
    if not yes and not typer.confirm("Erase it?", err=True):
        say("nothing was erased")
        sys.exit(1)
    found = forget(settings, tenant, named.keys, system_clock)
    show(erasure_as_json(found, named), erasure_as_text(found, named, is_plan=False), as_json)
    say(SPOOL_NOTE.format(tenant=tenant))
