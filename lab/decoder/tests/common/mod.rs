//! What several tests share: a tiny model.

use std::sync::LazyLock;

use kvtrie::BlockId;
use kvtrie_decoder::{Config, Model};

/// Seed of the tiny model's weights.
pub const SEED: u64 = 3;

/// Returns the configuration of a tiny model.
pub fn tiny() -> Config {
    Config {
        hidden: 48,
        intermediate: 104,
        layers: 2,
        heads: 6,
        kv_heads: 2,
        head_dim: 8,
        max_positions: 2048,
        ..Config::small()
    }
}

/// Returns the tiny model, which is created once.
pub fn model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(|| Model::random(tiny(), SEED));
    &MODEL
}

/// Returns the first block ids of a pool.
pub fn ids(count: usize) -> Vec<BlockId> {
    (0..count).map(BlockId::new).collect()
}
