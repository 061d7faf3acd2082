//! The numbers, as OpenMetrics 1.0 has them. Each label has few values, all of them known here, but for the addresses of
//! authorization servers, of which [`MOST_SERVERS`] are told apart. No number names a connection, and none costs a read
//! of the store (law 10).

use super::survey::{BOUNDS, ENDS, PAUSE};
use crate::shared::Shared;
use crate::tally::Count;
use perennial::tally::{BUCKETS, Latency};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge, Histogram};
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What the page is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// So many authorization servers are told apart; all others are one.
const MOST_SERVERS: usize = 32;
const OTHERS: &str = "others";
const STATES: [&str; 4] = ["closed", "shaky", "open", "half_open"];

/// The numbers as they are now.
pub(super) fn page(shared: &Arc<Shared>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Numbers(Arc::clone(shared))));
    let mut page = String::with_capacity(16 * 1024);
    text::encode(&mut page, &registry)?;
    Ok(page)
}

struct Numbers(Arc<Shared>);

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        of_the_process(&self.0, &mut page)?;
        of_requests(&self.0, &mut page)?;
        of_refreshes(&self.0, &mut page)?;
        of_the_store(&self.0, &mut page)?;
        of_servers(&self.0, &mut page)?;
        of_the_agenda(&self.0, &mut page)
    }
}

fn of_the_process(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let mut build = page.begin("perennial_build", "Which version this is.", None, MetricType::Info)?;
    build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
    let started = shared.started.0;
    let mut start = page.begin(
        "process_start_time",
        "When the process began, in seconds since 1970.",
        Some(&Unit::Seconds),
        Gauge,
    )?;
    start.encode_gauge(&started)?;
    let is_well = shared.health.ended(shared.scheduler.load().rounds).is_empty();
    page.gauge("perennial_live", "1 while all duties of the daemon go on.", i64::from(is_well))?;
    let draining = shared.health.is_draining();
    page.gauge("perennial_draining", "1 once the daemon is about to end.", i64::from(draining))
}

fn of_requests(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let tally = &shared.tally;
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let answers = classes.into_iter().zip(tally.answers.iter().map(Count::get));
    page.counters(
        "perennial_requests",
        "Requests answered, by the class of their status.",
        "class",
        answers,
    )?;
    let hand_outs = [
        ("fresh", tally.fresh.get()),
        ("stale", tally.stale.get()),
        ("fetched", tally.fetched.get()),
        ("in_need", tally.in_need.get()),
        ("refused", tally.refused.get()),
    ];
    let help = "Requests for an access token. fresh: out of memory; stale: out of memory, and renewed meanwhile; fetched: \
                out of the store or by a refresh; in_need: out of memory, because nothing newer could be had; refused: none.";
    page.counters("perennial_hand_outs", help, "freshness", hand_outs)?;
    let forwarded = classes.into_iter().zip(tally.forwarded.iter().map(Count::get));
    let help = "API calls forwarded, by the class of their answer's status.";
    page.counters("perennial_forwarded", help, "class", forwarded)?;
    let help = "API calls that the API rejected, by whether they were sent once more with another token.";
    let again = [("yes", tally.sent_again.get()), ("no", tally.not_sent_again.get())];
    page.counters("perennial_rejected", help, "sent_again", again)?;
    page.counter("perennial_strangers", "Requests that showed no good key.", tally.strangers.get())?;
    page.gauge("perennial_sockets", "Sockets that are open.", signed(tally.sockets.get()))?;
    let help = "Sockets that were closed at once, because there were too many.";
    page.counter("perennial_sockets_turned_away", help, tally.turned_away.get())?;
    let help = "Sockets that could not be accepted: the system had no file descriptor left, as a rule.";
    page.counter("perennial_sockets_not_accepted", help, tally.not_accepted.get())?;
    let help = "Access tokens that are kept in memory.";
    page.gauge("perennial_resident_tokens", help, signed(shared.hot.len() as u64))
}

fn of_refreshes(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let tally = shared.keeper.tally();
    let help = "What came of token requests: ok; a verdict; store: refused by the store before it was sent; unreachable; \
                other_principal.";
    page.counters("perennial_refreshes", help, "outcome", tally.refreshes)?;
    page.counters("perennial_flights_begun", "Flights begun, by why.", "cause", tally.begun)?;
    let help = "Flights that are under way.";
    page.gauge("perennial_flights_under_way", help, signed(tally.under_way as u64))?;
    let help = "Connections whose newest tokens are nowhere but in memory: neither the store nor a rescue file takes them.";
    page.gauge("perennial_held_in_memory", help, signed(tally.held_in_memory as u64))?;
    let help = "1 while tokens wait in a rescue file for the store.";
    page.gauge("perennial_rescue_waiting", help, i64::from(tally.rescue_waits))
}

fn of_the_store(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let tally = shared.keeper.tally();
    let readable = shared.health.is_readable();
    page.gauge("perennial_store_readable", "1 while the store can be read.", i64::from(readable))?;
    let writable = shared.health.is_writable(&tally);
    let help =
        "1 while the store takes writes, as far as is known: 0 from a refusal on until a write is kept.";
    page.gauge("perennial_store_writable", help, i64::from(writable))?;
    let help = "How long the store took to read a connection, and to make an intent and an outcome durable.";
    let mut store = page.begin("perennial_store_operation", help, Some(&Unit::Seconds), Histogram)?;
    for (operation, latency) in [("read", &tally.read), ("intend", &tally.intend), ("commit", &tally.commit)]
    {
        let buckets = of_latency(latency);
        let labels = [("operation", operation)];
        let mut series = store.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(latency.sum.as_secs_f64(), latency.count, &buckets, None)?;
    }
    Ok(())
}

fn of_servers(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let mut servers: BTreeMap<String, BTreeMap<&str, i64>> = BTreeMap::new();
    let mut known = shared.keeper.servers();
    known.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (at, (origin, state)) in known.into_iter().enumerate() {
        let name = if at < MOST_SERVERS { origin.to_string() } else { OTHERS.to_owned() };
        *servers.entry(name).or_default().entry(state).or_default() += 1;
    }
    let help = "How the breaker of an authorization server stands: 1 for the state that it is in. All beyond the first 32 \
                are counted as others.";
    let mut breakers = page.begin("perennial_server_breaker", help, None, Gauge)?;
    for (server, counts) in &servers {
        for state in STATES {
            let count = counts.get(state).copied().unwrap_or(0);
            breakers.encode_family(&[("server", server.as_str()), ("state", state)])?.encode_gauge(&count)?;
        }
    }
    Ok(())
}

fn of_the_agenda(shared: &Shared, page: &mut Page<'_>) -> fmt::Result {
    let load = shared.scheduler.load();
    let help =
        "Connections that are due and wait for their flight, as far as they have been taken from the agenda.";
    page.gauge("perennial_scheduler_waiting", help, signed(load.waiting as u64))?;
    let help = "Connections that are due and are left alone for a while.";
    page.gauge("perennial_scheduler_resting", help, signed(load.resting as u64))?;
    let help = "Flights that the scheduler waits for.";
    page.gauge("perennial_scheduler_under_way", help, signed(load.under_way as u64))?;
    let help = "How often the scheduler has gone round: one that does no more has died.";
    page.counter("perennial_scheduler_rounds", help, load.rounds)?;
    if let Some(agenda) = shared.survey.agenda() {
        let help = format!(
            "Connections whose renewal is due, whatever stands in their way, up to 100000; {} s old at most.",
            PAUSE.as_secs()
        );
        page.gauge("perennial_due", &help, signed(agenda.due))?;
        let help = format!(
            "For how long the renewal has been due that may be tried and waits longest; {} s old at most.",
            PAUSE.as_secs()
        );
        page.begin("perennial_agenda_lag", &help, Some(&Unit::Seconds), Gauge)?.encode_gauge(&agenda.lag)?;
    }
    let Some(ends) = shared.survey.ends() else { return Ok(()) };
    let help = format!(
        "Refresh tokens by the time that they have left; counted {} s after the last count at the latest, which takes some \
         minutes for a million. A picture, not a sum over time. What has ended has 0.",
        ENDS.as_secs()
    );
    #[expect(clippy::cast_precision_loss, reason = "seconds in a graph")]
    let (bounds, sum) = (BOUNDS.map(|bound| bound as f64), ends.seconds as f64);
    let buckets = apart(bounds.into_iter().zip(ends.within), ends.known);
    let mut left = page.begin("perennial_refresh_token_left", &help, Some(&Unit::Seconds), Histogram)?;
    left.encode_histogram::<NoLabelSet>(sum, ends.known, &buckets, None)
}

/// Upper bounds and counts, each on its own: the encoder adds them up.
fn apart(cumulative: impl IntoIterator<Item = (f64, u64)>, count: u64) -> Vec<(f64, u64)> {
    let mut before = 0;
    let all = cumulative.into_iter().chain([(f64::INFINITY, count)]);
    let own = |(bound, within): (f64, u64)| {
        let own = within.saturating_sub(before);
        before = before.max(within);
        (bound, own)
    };
    all.map(own).collect()
}

fn of_latency(latency: &Latency) -> Vec<(f64, u64)> {
    apart(BUCKETS.map(|bound| bound.as_secs_f64()).into_iter().zip(latency.buckets), latency.count)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The page as it is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn begin<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: i64) -> fmt::Result {
        self.begin(name, help, None, Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.begin(name, help, None, Counter)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        series: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, None, Counter)?;
        for (value, count) in series {
            metric.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}
