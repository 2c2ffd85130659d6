//! Metrics as Prometheus reads them.

use std::fmt::{Display, Write};

use kvtrie::PrefixCache;

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
        page.cache(cache);
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
    /// Writes what a cache counts.
    fn cache(&mut self, cache: &PrefixCache) {
        let stats = cache.stats();
        let usage = cache.in_use() as f64 / cache.capacity() as f64;
        let name = "vllm:prefix_cache_queries_total";
        self.counter(name, "Tokens of all prompts looked up.", stats.requested_tokens);
        let name = "vllm:prefix_cache_hits_total";
        self.counter(name, "Tokens found in the cache.", stats.hit_tokens);
        let name = "vllm:kv_cache_usage_perc";
        self.gauge(name, "Blocks in use over the capacity; 1 is 100 percent.", usage);

        let name = "kvtrie_blocks";
        self.head(name, "gauge", "Blocks by state; their sum is the capacity.");
        for (state, blocks) in [("free", stats.free), ("owned", stats.owned), ("cached", stats.cached)] {
            self.line(name, &format!(",state=\"{state}\""), blocks);
        }
        self.counter("kvtrie_lookups_total", "Lookups.", stats.lookups);
        self.counter("kvtrie_published_blocks_total", "Blocks published.", stats.published);
        self.counter("kvtrie_evicted_blocks_total", "Blocks evicted.", stats.evicted);
        let name = "kvtrie_duplicate_blocks_total";
        self.counter(name, "Blocks offered that were published before.", stats.duplicates);
        self.gauge("kvtrie_pinned_blocks", "Blocks that count against the pin budget.", stats.pinned);
        self.gauge("kvtrie_node_bytes", "Bytes of the linked nodes.", stats.node_bytes);
        let name = "kvtrie_retired_bytes";
        self.gauge(name, "Bytes of nodes that are unlinked and not freed.", stats.retired_bytes);
        self.gauge("kvtrie_namespaces", "Namespaces in the cache.", stats.namespaces);
    }

    /// Writes what a publisher counts.
    fn publisher(&mut self, stats: &PublisherStats) {
        self.counter("kvtrie_events_batches_total", "Batches sent.", stats.batches);
        self.counter("kvtrie_events_bytes_total", "Bytes of the batches sent.", stats.bytes);
        let name = "kvtrie_events_replays_total";
        self.counter(name, "Replays that routers asked for.", stats.replays);
        let name = "kvtrie_events_full_replays_total";
        self.counter(name, "Replays that began with the whole state.", stats.full_replays);
        let name = "kvtrie_events_abandoned_replays_total";
        self.counter(name, "Replays that were given up.", stats.abandoned_replays);
        let name = "kvtrie_events_ring_bytes";
        self.gauge(name, "Bytes of the batches kept for replays.", stats.ring_bytes);
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
        self.text.write_fmt(text).expect("writing to a string succeeds");
    }
}

/// Escapes the value of a label.
fn escape(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}
