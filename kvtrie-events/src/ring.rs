//! The last batches, for subscribers that lost some.

use std::collections::VecDeque;

/// A ring of payloads with consecutive sequence numbers, bounded in number and in bytes.
#[derive(Debug)]
pub struct Ring {
    payloads: VecDeque<Vec<u8>>,
    /// The number of the first payload that is kept.
    first: u64,
    /// The number of the first payload ever.
    origin: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Ring {
    /// Makes an empty ring that starts with a number, and keeps so many payloads and bytes at most.
    pub fn new(origin: u64, most: usize, most_bytes: usize) -> Self {
        Self {
            payloads: VecDeque::new(),
            first: origin,
            origin,
            bytes: 0,
            most,
            most_bytes,
        }
    }

    /// Returns the number of the first payload kept, or that of the next one if none is.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number of the next payload.
    pub fn next(&self) -> u64 {
        self.first + self.payloads.len() as u64
    }

    /// Returns whether no payload was dropped, so that the ring alone leads from nothing to now.
    pub fn is_complete(&self) -> bool {
        self.first == self.origin
    }

    /// Returns the payload with a number, if it is kept.
    pub fn get(&self, number: u64) -> Option<&[u8]> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.payloads.get(place).map(Vec::as_slice)
    }

    /// Adds a payload under the next number, and drops the oldest ones beyond the bounds.
    pub fn push(&mut self, payload: Vec<u8>) {
        self.bytes += payload.len();
        self.payloads.push_back(payload);
        while self.payloads.len() > self.most || self.bytes > self.most_bytes {
            let Some(oldest) = self.payloads.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
            self.first += 1;
        }
    }

    /// Returns how many payloads are kept.
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Returns how many bytes the payloads have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn the_oldest_payloads_leave_beyond_either_bound() {
        let mut ring = Ring::new(7, 3, 10);
        assert!(ring.is_complete());
        for size in [1, 2, 3] {
            ring.push(vec![0; size]);
        }
        assert_eq!((ring.first(), ring.next(), ring.bytes()), (7, 10, 6));
        assert!(ring.is_complete());
        ring.push(vec![0; 4]);
        assert_eq!((ring.first(), ring.next(), ring.bytes()), (8, 11, 9));
        ring.push(vec![0; 5]);
        assert_eq!((ring.first(), ring.next(), ring.bytes()), (10, 12, 9));
        assert!(!ring.is_complete());
        assert_eq!(ring.get(9), None);
        assert_eq!(ring.get(10).map(<[u8]>::len), Some(4));
        assert_eq!(ring.get(12), None);
    }

    #[test]
    fn a_ring_without_room_keeps_nothing_and_counts_on() {
        let mut ring = Ring::new(0, 0, 100);
        ring.push(vec![1]);
        ring.push(vec![2]);
        assert_eq!((ring.first(), ring.next(), ring.len()), (2, 2, 0));
        assert_eq!(ring.get(1), None);
    }
}
