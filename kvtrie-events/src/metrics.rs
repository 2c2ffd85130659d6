//! Metrics as Prometheus reads them.

use std::fmt::{Display, Write};

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
        page.vllm(&stats, cache.in_use() as f64 / cache.capacity() as f64);
        page.kvtrie(&stats);
        if let Some(publisher) = publisher {
            page.publisher(publisher);
        }
        page.text
    }
}

/// The text under way.
struct Page<'m> {
    labels: &'m str,
    text: String,
}

impl Page<'_> {
    /// Writes what a cache counts under vLLM's names.
    fn vllm(&mut self, stats: &Stats, usage: f64) {
        let queries = "Tokens of all prompts looked up.";
        self.counter(
            "vllm:prefix_cache_queries_total",
            queries,
            stats.requested_tokens,
        );
        let hits = "Tokens of these prompts that were cached.";
        self.counter("vllm:prefix_cache_hits_total", hits, stats.hit_tokens);
        let used = "Blocks in use over the capacity; 1 is 100 percent.";
        self.gauge("vllm:kv_cache_usage_perc", used, usage);
    }

    /// Writes what a cache counts under names of its own.
    fn kvtrie(&mut self, stats: &Stats) {
        let states = [
            ("free", stats.free),
            ("owned", stats.owned),
            ("cached", stats.cached),
        ];
        self.head(
            "kvtrie_blocks",
            "gauge",
            "Blocks by state; their sum is the capacity.",
        );
        for (state, blocks) in states {
            self.line("kvtrie_blocks", &format!(",state=\"{state}\""), blocks);
        }
        let duplicates = "Blocks offered that were published before.";
        for (name, help, value) in [
            ("kvtrie_lookups_total", "Lookups.", stats.lookups),
            (
                "kvtrie_published_blocks_total",
                "Blocks published.",
                stats.published,
            ),
            (
                "kvtrie_evicted_blocks_total",
                "Blocks evicted.",
                stats.evicted,
            ),
            (
                "kvtrie_duplicate_blocks_total",
                duplicates,
                stats.duplicates,
            ),
        ] {
            self.counter(name, help, value);
        }
        let retired = "Bytes of nodes that are unlinked and not freed.";
        for (name, help, value) in [
            (
                "kvtrie_pinned_blocks",
                "Blocks in the pin budget.",
                stats.pinned,
            ),
            (
                "kvtrie_node_bytes",
                "Bytes of the linked nodes.",
                stats.node_bytes,
            ),
            ("kvtrie_retired_bytes", retired, stats.retired_bytes),
            ("kvtrie_namespaces", "Namespaces.", stats.namespaces),
        ] {
            self.gauge(name, help, value);
        }
    }

    /// Writes what a publisher counts.
    fn publisher(&mut self, stats: &PublisherStats) {
        let full = "Replays that began with the whole state.";
        for (name, help, value) in [
            (
                "kvtrie_events_batches_total",
                "Batches sent.",
                stats.batches,
            ),
            (
                "kvtrie_events_bytes_total",
                "Bytes of the batches sent.",
                stats.bytes,
            ),
            (
                "kvtrie_events_replays_total",
                "Replays asked for.",
                stats.replays,
            ),
            ("kvtrie_events_full_replays_total", full, stats.full_replays),
            (
                "kvtrie_events_abandoned_replays_total",
                "Replays given up.",
                stats.abandoned_replays,
            ),
        ] {
            self.counter(name, help, value);
        }
        let kept = "Bytes of the batches kept for replays.";
        self.gauge("kvtrie_events_ring_bytes", kept, stats.ring_bytes);
    }

    /// Writes a count that only grows.
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(name, "", value);
    }

    /// Writes a value that may fall.
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
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
    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(text)
            .expect("writing to a string succeeds");
    }
}

/// Escapes the value of a label.
fn escape(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
