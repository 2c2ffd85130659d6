//! The index, bare: a published node is never missed, never published twice, and never comes back
//! once it is unlinked.
#![cfg(loom)]

#[path = "common.rs"]
mod common;

use common::{both, explore, three};
use kvtrie::BlockId;
use kvtrie::model::{BlockHasher, Blueprint, Index, Item, Keyed, NodeRef, Position, unprotected};
use loom::sync::Arc;

/// The key of every node with an image.
const KEY: u64 = 0;

/// The item of an image.
fn of_image(image: Option<u8>) -> Option<Item> {
    image.map(|image| Item {
        start: 0,
        digest: [image; 32],
    })
}

/// One bucket, the root that its nodes hang off, and ids to give them.
struct Bucket {
    index: Index,
    root: Position,
    ids: Vec<BlockId>,
}

impl Bucket {
    fn new() -> Arc<Self> {
        let hasher = BlockHasher::new(&[1; 16]);
        Arc::new(Self {
            index: Index::new(1),
            root: NodeRef::build_root(0, hasher.start(&"root".into())).position(0),
            ids: (0..4).map(BlockId::new).collect(),
        })
    }

    /// The bucket with a node for each token.
    fn with(tokens: &[u32]) -> (Arc<Self>, Vec<Position>) {
        let bucket = Self::new();
        let nodes = tokens.iter().map(|token| bucket.publish(*token).0);
        let nodes = nodes.collect();
        (bucket, nodes)
    }

    /// A node of one block that holds one token.
    fn build(&self, token: u32) -> NodeRef<'static> {
        self.build_keyed(Keyed::plain(&[token]), u64::from(token))
    }

    /// A node of one block with a key.
    fn build_keyed(&self, tokens: Keyed<'_>, key: u64) -> NodeRef<'static> {
        NodeRef::build(Blueprint {
            parent: self.root,
            root: self.root,
            key,
            is_queued: false,
            room: 1,
            ids: &self.ids[..1],
            tokens,
            is_numbered: false,
        })
    }

    /// Publishes a node that holds a token: where it is, and whether it came to be.
    fn publish(&self, token: u32) -> (Position, bool) {
        let node = self.build(token);
        let published = self.index.publish(node, unprotected()).is_ok();
        (node.position(0), published)
    }

    fn find(&self, token: u32) -> bool {
        let guard = unprotected();
        let found = (self.index).find(u64::from(token), self.root, &[token], |_| (), guard);
        // As a lookup would, it looks at the node that it found.
        found.is_some_and(|found| found.node.state(0).load().pins() == 1)
    }

    /// Publishes a token that stands for an image, or for none.
    fn publish_image(&self, image: Option<u8>) -> Position {
        let item = of_image(image);
        let node = self.build_keyed(Keyed::new(&[7], item.as_slice()), KEY);
        let published = self.index.publish(node, unprotected());
        assert!(published.is_ok(), "no equal");
        node.position(0)
    }

    fn find_image(&self, image: Option<u8>) -> Option<Position> {
        let (item, guard) = (of_image(image), unprotected());
        let tokens = Keyed::new(&[7], item.as_slice());
        let found = match image {
            Some(_) => self.index.find_keyed(KEY, self.root, tokens, guard),
            None => (self.index).find(KEY, self.root, tokens.tokens, |_| (), guard),
        };
        found.map(|found| found.node.position(0))
    }

    fn unlink(&self, at: Position) {
        self.index.unlink(node(at), unprotected());
    }

    /// Checks what can be found, and frees the nodes.
    fn end(&self, nodes: &[Position], tokens: &[u32]) {
        for token in 0..4 {
            assert_eq!(self.find(token), tokens.contains(&token), "token {token}");
        }
        for at in nodes.iter().chain([&self.root]) {
            // SAFETY: the other threads have ended, and the index is not used again.
            unsafe { node(*at).free() };
        }
    }
}

fn node(at: Position) -> NodeRef<'static> {
    // SAFETY: no model frees a node before its end.
    unsafe { NodeRef::at(at) }
}

/// A node is published while another thread looks for it: it is found as a whole or not at all.
#[test]
fn publish_versus_find() {
    explore("publish_versus_find", 3, || {
        let bucket = Bucket::new();
        let other = Arc::clone(&bucket);
        let ((at, published), _) = both(move || other.publish(1), || bucket.find(1));
        assert!(published);
        bucket.end(&[at], &[1]);
    });
}

/// The same for a block with an image.
#[test]
fn publish_versus_find_of_an_image() {
    explore("publish_versus_find_of_an_image", 3, || {
        let bucket = Bucket::new();
        let other = Arc::clone(&bucket);
        let (at, _) = both(
            move || other.publish_image(Some(1)),
            || bucket.find_image(Some(1)),
        );
        bucket.end(&[at], &[]);
    });
}

/// Three threads publish the same block, and one something else: it is published once.
#[test]
fn publish_versus_publish() {
    explore("publish_versus_publish", 100, || {
        let bucket = Bucket::new();
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let (first, second, third) = three(
            move || one.publish(1),
            move || (two.publish(2), two.publish(1)),
            || bucket.publish(1),
        );
        let equal = [first, second.1, third];
        assert_eq!(equal.iter().filter(|(_, published)| *published).count(), 1);
        assert!(second.0.1, "another block is no equal");
        let nodes = [first.0, second.0.0, second.1.0, third.0];
        bucket.end(&nodes, &[1, 2]);
    });
}

/// Three threads publish equal tokens under two images and under none, all with one key: each is
/// published, and found by its image alone.
#[test]
fn publish_versus_publish_of_another_image() {
    explore("publish_versus_publish_of_another_image", 10, || {
        let bucket = Bucket::new();
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let (first, second, third) = three(
            move || one.publish_image(Some(1)),
            move || two.publish_image(Some(2)),
            || bucket.publish_image(None),
        );
        for (image, at) in [(Some(1), first), (Some(2), second), (None, third)] {
            assert_eq!(bucket.find_image(image), Some(at), "{image:?}");
        }
        for at in [first, second, third, bucket.root] {
            // SAFETY: the other threads have ended, and the index is not used again.
            unsafe { node(at).free() };
        }
    });
}

/// Each of two threads publishes a block and then looks for the other's, in one bucket: at least
/// one of them finds it.
#[test]
fn publishers_in_one_bucket() {
    explore("publishers_in_one_bucket", 10, || {
        let bucket = Bucket::new();
        let other = Arc::clone(&bucket);
        let ((one, theirs), (two, ours)) = both(
            move || (other.publish(1).0, other.find(2)),
            || (bucket.publish(2).0, bucket.find(1)),
        );
        assert!(theirs || ours, "one of the two came second");
        bucket.end(&[one, two], &[1, 2]);
    });
}

/// Two neighbours leave a bucket at once, and a third node comes: neither comes back, and none of
/// the others goes.
#[test]
fn unlink_versus_unlink_of_the_neighbour() {
    explore("unlink_versus_unlink_of_the_neighbour", 1_000, || {
        let (bucket, mut nodes) = Bucket::with(&[0, 1, 2]);
        let (near, far) = (nodes[1], nodes[2]);
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let ((), (), fresh) = three(
            move || one.unlink(near),
            move || two.unlink(far),
            || bucket.publish(3).0,
        );
        nodes.push(fresh);
        bucket.end(&nodes, &[0, 3]);
    });
}

/// A node leaves while another thread looks for the one behind it: that one is always found.
#[test]
fn unlink_versus_find() {
    explore("unlink_versus_find", 10, || {
        let (bucket, nodes) = Bucket::with(&[0, 1, 2]);
        let (near, far) = (nodes[1], nodes[2]);
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let ((), (), found) = three(
            move || one.unlink(near),
            move || two.unlink(far),
            || bucket.find(0),
        );
        assert!(found, "it was there throughout");
        bucket.end(&nodes, &[0]);
    });
}

/// A node leaves while another thread publishes one in front of it: the unlinking thread sees the
/// new one as a whole on its way.
#[test]
fn unlink_versus_publish() {
    explore("unlink_versus_publish", 10, || {
        let (bucket, mut nodes) = Bucket::with(&[0, 1]);
        let (old, other) = (nodes[0], Arc::clone(&bucket));
        let (fresh, ()) = both(move || other.publish(2).0, || bucket.unlink(old));
        nodes.push(fresh);
        bucket.end(&nodes, &[1, 2]);
    });
}
