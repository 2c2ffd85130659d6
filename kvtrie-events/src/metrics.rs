//! Metrics as Prometheus reads them.

use std::fmt::{Arguments, Display, Write};

use kvtrie::{PrefixCache, Stats};

use crate::counts::PublisherStats;

/// The content type of [`Metrics::render`], for the HTTP response.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the statistics of a cache in Prometheus' text format.
///
/// | name | what it is |
/// | --- | --- |
/// | `vllm:prefix_cache_queries_total` | tokens of all prompts looked up |
/// | `vllm:prefix_cache_hits_total` | those of them that were cached |
/// | `vllm:kv_cache_usage_perc` | blocks in use over the capacity, 0 to 1 |
/// | `kvtrie_blocks{state}` | blocks that are `free`, `owned` and `cached` |
/// | `kvtrie_*_total` | lookups; blocks published, evicted and offered twice |
/// | `kvtrie_*` | pinned blocks; bytes of nodes, linked and retired; namespaces |
/// | `kvtrie_events_*` | batches and bytes sent, replays: with a [`Publisher`](crate::Publisher) |
///
/// The first three have the names and units of vLLM, so that its dashboards work. Its histograms of
/// block lifetimes (`vllm:kv_block_lifetime_seconds` and two others) are left out: the cache does
/// not keep a time for each block.
///
/// # Examples
///
/// ```
/// use kvtrie::PrefixCache;
/// use kvtrie_events::Metrics;
///
/// let cache = PrefixCache::builder().blocks(8).block_size(2).build()?;
/// let metrics = Metrics::new("llama-3-8b");
/// let hold = cache.lookup(&cache.namespace("llama-3-8b"), &[1, 2, 3]);
/// let text = metrics.render(&cache, None); // the body of GET /metrics
/// assert!(text.contains(
///     "vllm:prefix_cache_queries_total{model_name=\"llama-3-8b\",engine=\"0\"} 3\n"
/// ));
/// # Ok::<_, kvtrie::BuildError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Metrics {
    /// The labels of all metrics, without braces.
    labels: String,
}

impl Metrics {
    /// Labels the metrics with the name of a model, and with engine 0.
    #[must_use]
    pub fn new(model: &str) -> Self {
        Self::with_engine(model, 0)
    }

    /// Labels the metrics with the name of a model and the number of an engine.
    #[must_use]
    pub fn with_engine(model: &str, engine: usize) -> Self {
        let model = escape(model);
        let labels = format!("model_name=\"{model}\",engine=\"{engine}\"");
        Self { labels }
    }

    /// Returns the metrics as text.
    ///
    /// Costs a call of [`PrefixCache::stats`] and one of [`PrefixCache::in_use`].
    #[must_use]
    pub fn render(&self, cache: &PrefixCache, publisher: Option<&PublisherStats>) -> String {
        let mut page = Page {
            labels: &self.labels,
            text: String::new(),
        };
        let stats = cache.stats();
        page.table(&CACHE, &stats);
        page.usage(&stats, cache.in_use());
        if let Some(publisher) = publisher {
            page.table(&PUBLISHER, publisher);
        }
        page.text
    }
}

/// A metric: its name, its type, its help text and its value.
type Metric<S> = (&'static str, &'static str, &'static str, fn(&S) -> u64);

/// The metrics of a cache.
const CACHE: [Metric<Stats>; 10] = [
    (
        "vllm:prefix_cache_queries_total",
        "counter",
        "Tokens of all prompts looked up.",
        |stats| stats.requested_tokens,
    ),
    (
        "vllm:prefix_cache_hits_total",
        "counter",
        "Tokens of these prompts that were cached.",
        |stats| stats.hit_tokens,
    ),
    ("kvtrie_lookups_total", "counter", "Lookups.", |stats| {
        stats.lookups
    }),
    (
        "kvtrie_published_blocks_total",
        "counter",
        "Blocks published.",
        |stats| stats.published,
    ),
    (
        "kvtrie_evicted_blocks_total",
        "counter",
        "Blocks evicted.",
        |stats| stats.evicted,
    ),
    (
        "kvtrie_duplicate_blocks_total",
        "counter",
        "Blocks offered that were published before.",
        |stats| stats.duplicates,
    ),
    (
        "kvtrie_pinned_blocks",
        "gauge",
        "Blocks that count against the pin budget.",
        |stats| stats.pinned as u64,
    ),
    (
        "kvtrie_node_bytes",
        "gauge",
        "Bytes of the linked nodes.",
        |stats| stats.node_bytes as u64,
    ),
    (
        "kvtrie_retired_bytes",
        "gauge",
        "Bytes of nodes that are unlinked and not freed, in all caches of the process.",
        |stats| stats.retired_bytes as u64,
    ),
    (
        "kvtrie_namespaces",
        "gauge",
        "Namespaces in the cache.",
        |stats| stats.namespaces as u64,
    ),
];

/// The metrics of a publisher.
const PUBLISHER: [Metric<PublisherStats>; 7] = [
    (
        "kvtrie_events_batches_total",
        "counter",
        "Batches sent.",
        |stats| stats.batches,
    ),
    (
        "kvtrie_events_bytes_total",
        "counter",
        "Bytes of the batches sent.",
        |stats| stats.bytes,
    ),
    (
        "kvtrie_events_ring_bytes",
        "gauge",
        "Bytes of the batches kept for replays.",
        |stats| stats.ring_bytes,
    ),
    (
        "kvtrie_events_replays_total",
        "counter",
        "Replays that routers asked for.",
        |stats| stats.replays,
    ),
    (
        "kvtrie_events_full_replays_total",
        "counter",
        "Replays that began with the whole state.",
        |stats| stats.full_replays,
    ),
    (
        "kvtrie_events_repeats_total",
        "counter",
        "Times that the whole state was sent to all subscribers.",
        |stats| stats.repeats,
    ),
    (
        "kvtrie_events_abandoned_replays_total",
        "counter",
        "Replays that were given up.",
        |stats| stats.abandoned_replays,
    ),
];

/// The text under way.
struct Page<'m> {
    labels: &'m str,
    text: String,
}

impl Page<'_> {
    /// Writes the metrics of a table.
    fn table<S>(&mut self, table: &[Metric<S>], stats: &S) {
        for (name, kind, help, value) in table {
            self.head(name, kind, help);
            self.line(name, "", value(stats));
        }
    }

    /// Writes how the blocks are used: the metrics that no table has.
    fn usage(&mut self, stats: &Stats, in_use: usize) {
        let name = "vllm:kv_cache_usage_perc";
        self.head(name, "gauge", "Blocks in use over the capacity, 0 to 1.");
        self.line(name, "", in_use as f64 / stats.capacity as f64);
        let name = "kvtrie_blocks";
        self.head(name, "gauge", "Blocks by state; their sum is the capacity.");
        self.line(name, ",state=\"free\"", stats.free);
        self.line(name, ",state=\"owned\"", stats.owned);
        self.line(name, ",state=\"cached\"", stats.cached);
    }

    /// Writes what a metric is.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a value.
    fn line(&mut self, name: &str, more_labels: &str, value: impl Display) {
        let labels = self.labels;
        self.write(format_args!("{name}{{{labels}{more_labels}}} {value}\n"));
    }

    /// Appends text.
    fn write(&mut self, text: Arguments<'_>) {
        let written = self.text.write_fmt(text);
        written.expect("writing to a string succeeds");
    }
}

/// Escapes the value of a label.
fn escape(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
