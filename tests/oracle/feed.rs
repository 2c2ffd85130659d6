//! The change feed: after each poll its view is what the model has under its current roots.

use kvtrie::ChangeFeedError;

use crate::case::Case;
use crate::model::whole;
use crate::router::Router;

impl Case<'_> {
    /// Polls the feed, perhaps a new one.
    pub fn poll(&mut self) {
        let is_new = self.choices.upto(7) == 7;
        let expected = match &self.feed {
            Some(_) => ChangeFeedError::InUse,
            None => ChangeFeedError::NotBuilt,
        };
        assert_eq!(self.cache.change_feed().unwrap_err(), expected);
        if is_new && self.feed.take().is_some() {
            self.feed = Some(self.cache.change_feed().expect("no other reader"));
            self.router = Router::default();
        }
        if self.spaces[0].0.hash() == self.spaces[1].0.hash() {
            // Every prefix has the same hash (`ci/collide.sh`), and a feed names them by hash.
            return;
        }
        let before = self.sight();
        if let Some(feed) = &mut self.feed {
            assert!(self.router.poll(feed, &self.cache), "nothing is put off");
            self.check_view();
        }
        assert_eq!(self.sight(), before, "a poll changes nothing");
    }

    /// Compares what the feed has told with the model.
    fn check_view(&self) {
        let size = self.cache.block_size();
        let hash = |(root, letters, _)| {
            let (handle, current) = &self.spaces[self.model.namespace(root)];
            let prompt = whole(letters, size);
            (root == *current).then(|| self.cache.compute_block_hash(handle.hash(), prompt))
        };
        let mut expected: Vec<_> = self.model.cached().filter_map(hash).collect();
        expected.sort();
        assert!(self.router.known.keys().eq(&expected));
        self.router.assert_all_found(&self.cache);
        let mut late = Router::default();
        let feed = self.feed.as_ref().expect("it was polled");
        feed.snapshot(|change| late.hear(change, &self.cache));
        assert!(late.known.keys().eq(&expected), "a snapshot is the view");
    }
}
