//! Batches of events: what a message carries.
//!
//! ```text
//! [ timestamp f64, [ event, … ], data-parallel rank or nil ]
//!
//! {"type": "BlockStored", "block_hashes": [u64, …], "parent_block_hash": u64 or nil,
//!  "token_ids": [u32, …], "block_size": n, "lora_id": nil, "medium": "GPU",
//!  "lora_name": text or nil, "extra_keys": [[key, …] or nil, …]}    the last only if there are any
//! {"type": "BlockRemoved", "block_hashes": [u64, …], "medium": "GPU"}
//! {"type": "AllBlocksCleared"}
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use kvtrie::{BlockHash, Change, NamespaceKey, Removed, Stored};

use crate::pack::Pack;

/// A batch is complete once its events take this many bytes.
pub const FULL: usize = 64 * 1024;
/// Most hashes of one removal, so that a batch is at most a little larger than [`FULL`].
const HASHES: usize = 1_024;

/// What the batches of a worker have in common.
///
/// # Examples
///
/// ```
/// use kvtrie_events::Format;
///
/// let format = Format::new(16).medium("GPU").dp_rank(Some(3));
/// # let _ = format;
/// ```
#[derive(Debug, Clone)]
#[must_use = "a format does nothing until it is passed to a batcher"]
pub struct Format {
    block_size: usize,
    medium: String,
    dp_rank: Option<u16>,
    model: Option<Vec<u8>>,
}

impl Format {
    /// Makes the format of a cache with blocks of this many tokens: medium `GPU`, data-parallel
    /// rank 0, all models.
    pub fn new(block_size: usize) -> Self {
        Self {
            block_size,
            medium: "GPU".to_owned(),
            dp_rank: Some(0),
            model: None,
        }
    }

    /// Sets where the blocks are. Routers know `GPU`, and count `CPU` for less.
    pub fn medium(self, medium: impl Into<String>) -> Self {
        let medium = medium.into();
        Self { medium, ..self }
    }

    /// Sets the data-parallel rank of the worker; `None` leaves it to the router's configuration.
    pub fn dp_rank(self, dp_rank: Option<u16>) -> Self {
        Self { dp_rank, ..self }
    }

    /// Limits the events to the namespaces of one model.
    ///
    /// The format has no room for a model: a router takes all events of an endpoint for the model
    /// that it is configured with. So an engine that caches a draft model beside its model must
    /// choose.
    pub fn model(self, model: impl AsRef<[u8]>) -> Self {
        Self {
            model: Some(model.as_ref().to_vec()),
            ..self
        }
    }

    /// Returns whether the namespace is published.
    fn includes(&self, namespace: &NamespaceKey) -> bool {
        let model = self.model.as_deref();
        model.is_none_or(|model| model == namespace.model_name())
    }
}

/// Makes batches of changes, for the sockets of a [`Publisher`](crate::Publisher) or for another
/// transport.
///
/// Every batch is complete in itself, and has at most a little more than 64 KiB (or one block, if
/// that is larger). The batches must be delivered in the order in which they are made.
///
/// # Examples
///
/// ```
/// use kvtrie::PrefixCache;
/// use kvtrie_events::{Batcher, Format};
///
/// let cache = PrefixCache::builder().blocks(8).block_size(2).change_feed(true).build()?;
/// let mut feed = cache.change_feed()?;
/// let mut batcher = Batcher::new(Format::new(cache.block_size()));
///
/// let mut hold = cache.lookup(&cache.namespace("model"), &[]);
/// hold.publish(&[1, 2, 3, 4], cache.allocate(2).unwrap()).unwrap();
///
/// let mut payloads = Vec::new();
/// feed.poll(|change| batcher.push(&change, |payload| payloads.push(payload)));
/// batcher.finish(|payload| payloads.push(payload));
/// assert_eq!(payloads.len(), 1); // MessagePack, ready to be sent
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Batcher {
    format: Format,
    /// The events of the batch that is being made.
    events: Pack,
    count: usize,
}

impl Batcher {
    /// Makes a batcher without events.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            format,
            events: Pack::default(),
            count: 0,
        }
    }

    /// Adds a change, and passes on each batch that is full.
    pub fn push(&mut self, change: &Change<'_>, mut on_batch: impl FnMut(Vec<u8>)) {
        match change {
            Change::Stored(stored) if self.format.includes(stored.namespace) => {
                self.stored(stored, &mut on_batch);
            }
            Change::Removed(removed) if self.format.includes(removed.namespace) => {
                self.removed(removed, &mut on_batch);
            }
            Change::Cleared => self.cleared(),
            _ => {}
        }
    }

    /// Passes on the events that are left, if any.
    pub fn finish(&mut self, mut on_batch: impl FnMut(Vec<u8>)) {
        if self.count > 0 {
            on_batch(self.seal());
        }
    }

    /// Adds that nothing is cached.
    pub(crate) fn cleared(&mut self) {
        self.count += 1;
        self.events.map(1);
        self.events.str("type");
        self.events.str("AllBlocksCleared");
    }

    /// Makes a batch of the events so far, perhaps of none, and starts anew.
    pub(crate) fn seal(&mut self) -> Vec<u8> {
        let mut batch = Pack::default();
        batch.array(3);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        batch.f64(now.unwrap_or_default().as_secs_f64());
        batch.array(std::mem::take(&mut self.count));
        batch.append(&std::mem::take(&mut self.events));
        match self.format.dp_rank {
            Some(rank) => batch.uint(rank.into()),
            None => batch.nil(),
        }
        batch.into_vec()
    }

    /// Adds stored blocks, as several events if they are many.
    fn stored(&mut self, stored: &Stored<'_>, on_batch: &mut impl FnMut(Vec<u8>)) {
        let block_size = self.format.block_size;
        // A token takes at most 5 bytes, a hash 9.
        let most = (FULL / (5 * block_size + 9)).max(1);
        let mut parent = stored.parent;
        let mut first = 0;
        let runs = stored.hashes.chunks(most);
        for (hashes, tokens) in runs.zip(stored.tokens.chunks(most * block_size)) {
            let items = items_within(stored.items, first..first + tokens.len());
            let keys = extra_keys(
                stored.namespace,
                parent,
                items,
                first,
                hashes.len(),
                block_size,
            );
            self.stored_run(stored.namespace, parent, hashes, tokens, &keys);
            self.cut(on_batch);
            first += tokens.len();
            parent = hashes.last().copied();
        }
    }

    /// Adds one event for stored blocks.
    fn stored_run(
        &mut self,
        namespace: &NamespaceKey,
        parent: Option<BlockHash>,
        hashes: &[BlockHash],
        tokens: &[u32],
        keys: &[Vec<Key>],
    ) {
        let keyed = keys.iter().any(|keys| !keys.is_empty());
        let Self { format, events, .. } = self;
        self.count += 1;
        events.map(8 + usize::from(keyed));
        events.str("type");
        events.str("BlockStored");
        events.str("block_hashes");
        events.uints(hashes.iter().map(|hash| hash.get()));
        events.str("parent_block_hash");
        match parent {
            Some(parent) => events.uint(parent.get()),
            None => events.nil(),
        }
        events.str("token_ids");
        events.uints(tokens.iter().map(|&token| token.into()));
        events.str("block_size");
        events.uint(format.block_size as u64);
        events.str("lora_id");
        events.nil();
        events.str("medium");
        events.str(&format.medium);
        events.str("lora_name");
        match namespace.adapter_name() {
            Some(adapter) => events.str(&text(adapter)),
            None => events.nil(),
        }
        if keyed {
            events.str("extra_keys");
            events.array(keys.len());
            keys.iter().for_each(|keys| pack_keys(events, keys));
        }
    }

    /// Adds removed blocks, as several events if they are many.
    fn removed(&mut self, removed: &Removed<'_>, on_batch: &mut impl FnMut(Vec<u8>)) {
        for hashes in removed.hashes.chunks(HASHES) {
            let Self { format, events, .. } = self;
            self.count += 1;
            events.map(3);
            events.str("type");
            events.str("BlockRemoved");
            events.str("block_hashes");
            events.uints(hashes.iter().map(|hash| hash.get()));
            events.str("medium");
            events.str(&format.medium);
            self.cut(on_batch);
        }
    }

    /// Passes the batch on if it is full.
    fn cut(&mut self, on_batch: &mut impl FnMut(Vec<u8>)) {
        if self.events.len() >= FULL {
            on_batch(self.seal());
        }
    }
}

/// What a block is keyed by beside its tokens.
enum Key {
    /// The digest of an item, as text, and where in the block the item starts.
    Item(String, usize),
    /// The salt of a tenant.
    Tenant(String),
}

/// Returns the extra keys of each block of a run: as in vLLM, the items that start in it, and the
/// salt of the tenant in the first block of a prompt.
fn extra_keys(
    namespace: &NamespaceKey,
    parent: Option<BlockHash>,
    items: &[(usize, [u8; 32])],
    first: usize,
    blocks: usize,
    block_size: usize,
) -> Vec<Vec<Key>> {
    let mut keys: Vec<Vec<Key>> = (0..blocks).map(|_| Vec::new()).collect();
    for &(place, digest) in items {
        let (block, offset) = ((place - first) / block_size, (place - first) % block_size);
        keys[block].push(Key::Item(hex(&digest), offset));
    }
    if let (None, Some(tenant), Some(keys)) = (parent, namespace.tenant_salt(), keys.first_mut()) {
        keys.push(Key::Tenant(text(tenant)));
    }
    keys
}

/// Writes the extra keys of one block.
fn pack_keys(events: &mut Pack, keys: &[Key]) {
    if keys.is_empty() {
        return events.nil();
    }
    events.array(keys.len());
    for key in keys {
        match key {
            Key::Item(digest, offset) => {
                events.array(2);
                events.str(digest);
                events.uint(*offset as u64);
            }
            Key::Tenant(salt) => events.str(salt),
        }
    }
}

/// Returns the items that start in the range of tokens.
fn items_within(
    items: &[(usize, [u8; 32])],
    range: std::ops::Range<usize>,
) -> &[(usize, [u8; 32])] {
    let place = |end| items.partition_point(|&(start, _)| start < end);
    &items[place(range.start)..place(range.end)]
}

/// Returns a name as text: itself if it is UTF-8, otherwise in hexadecimal.
fn text(name: &[u8]) -> String {
    std::str::from_utf8(name).map_or_else(|_| hex(name), str::to_owned)
}

/// Returns bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
