//! Expiry: which slots may have passed their deadline, in buckets of a few milliseconds, validated lazily.

use std::collections::BTreeMap;

use super::slot::Slot;

/// Short, so that a bucket is never much more than one command of the sweeper removes.
const BUCKET_MS: u64 = 16;

/// Invariant: a slot whose current record has a deadline is in the bucket of that deadline. A bucket may
/// hold slots that left it since (`stale` counts them); it is compacted when they are the majority.
#[derive(Default)]
pub(super) struct ExpiryIndex {
    buckets: BTreeMap<u64, Bucket>,
}

#[derive(Default)]
struct Bucket {
    slots: Vec<Slot>,
    stale: usize,
}

impl ExpiryIndex {
    pub(super) fn insert(&mut self, slot: &Slot, deadline_ms: u64) {
        self.buckets.entry(deadline_ms / BUCKET_MS).or_default().slots.push(slot.clone());
    }

    /// Notes that a slot moves from one deadline to another. It may be listed already.
    pub(super) fn change(&mut self, slot: &Slot, old_ms: Option<u64>, new_ms: Option<u64>) {
        let bucket_of = |deadline_ms: u64| deadline_ms / BUCKET_MS;
        if old_ms.map(bucket_of) == new_ms.map(bucket_of) {
            return;
        }
        if let Some(old_ms) = old_ms {
            self.leave(bucket_of(old_ms));
        }
        if let Some(new_ms) = new_ms {
            self.insert(slot, new_ms);
        }
    }

    fn leave(&mut self, key: u64) {
        let Some(bucket) = self.buckets.get_mut(&key) else { return };
        bucket.stale += 1;
        if bucket.stale * 2 > bucket.slots.len() {
            bucket.slots.retain(|slot| {
                let current = slot.current();
                let version = current.as_ref();
                !version.is_tombstone()
                    && version.deadline_ms().is_some_and(|deadline_ms| deadline_ms / BUCKET_MS == key)
            });
            bucket.slots.sort_unstable_by_key(Slot::identity);
            bucket.slots.dedup_by_key(|slot| slot.identity());
            bucket.stale = 0;
        }
        if self.buckets.get(&key).is_some_and(|bucket| bucket.slots.is_empty()) {
            self.buckets.remove(&key);
        }
    }

    /// Takes out every slot whose record has expired at `up_to_ms`, ordered by deadline and key so that
    /// every replica removes them in the same order.
    pub(super) fn take_expired(&mut self, up_to_ms: u64) -> Vec<Slot> {
        let mut expired: Vec<(u64, Slot)> = Vec::new();
        let mut rest: Vec<(u64, Bucket)> = Vec::new();
        while let Some(entry) = self.buckets.first_entry().filter(|entry| *entry.key() <= up_to_ms / BUCKET_MS) {
            let (key, bucket) = entry.remove_entry();
            let mut later = Bucket::default();
            for slot in bucket.slots {
                let current = slot.current();
                let version = current.as_ref();
                let deadline_ms = version.deadline_ms().filter(|_| !version.is_tombstone());
                drop(current);
                match deadline_ms {
                    Some(deadline_ms) if deadline_ms <= up_to_ms => expired.push((deadline_ms, slot)),
                    Some(deadline_ms) if deadline_ms / BUCKET_MS == key => later.slots.push(slot),
                    _ => {}
                }
            }
            if !later.slots.is_empty() {
                rest.push((key, later));
            }
        }
        self.buckets.extend(rest);
        expired.sort_unstable();
        expired.dedup();
        expired.into_iter().map(|(_, slot)| slot).collect()
    }

    /// The time up to which about `limit` records have expired at `now_ms`, if any has.
    pub(super) fn next_due(&self, now_ms: u64, limit: usize) -> Option<u64> {
        let mut due: Vec<u64> = Vec::new();
        for (_, bucket) in self.buckets.range(..=now_ms / BUCKET_MS) {
            let deadlines = bucket.slots.iter().filter_map(|slot| {
                let current = slot.current();
                let version = current.as_ref();
                version.deadline_ms().filter(|_| !version.is_tombstone())
            });
            due.extend(deadlines.filter(|deadline_ms| *deadline_ms <= now_ms));
            if due.len() >= limit {
                break;
            }
        }
        if due.len() > limit {
            due.select_nth_unstable(limit - 1);
            due.truncate(limit);
        }
        due.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot::Version;
    use super::*;

    fn slot(number: u64, deadline_ms: u64) -> Slot {
        Slot::new(&number.to_be_bytes(), Version::new(1, false, Some(deadline_ms), b"\0\xf6"))
    }

    fn listed(index: &ExpiryIndex) -> usize {
        index.buckets.values().map(|bucket| bucket.slots.len()).sum()
    }

    #[test]
    fn records_deleted_long_before_their_deadline_leave_nothing_behind() {
        let mut index = ExpiryIndex::default();
        for number in 0..10_000 {
            let deadline_ms = 86_400_000 + number * 7;
            let slot = slot(number, deadline_ms);
            index.insert(&slot, deadline_ms);
            slot.replace(Version::tombstone(2, false));
            index.change(&slot, Some(deadline_ms), None);
        }
        assert_eq!(listed(&index), 0);
        assert!(index.buckets.is_empty());
    }

    #[test]
    fn a_record_touched_again_and_again_is_listed_a_few_times_at_most() {
        let mut index = ExpiryIndex::default();
        let slot = slot(1, 1_000);
        index.insert(&slot, 1_000);
        for deadline_ms in 1_001..50_000 {
            slot.replace(Version::new(2, false, Some(deadline_ms), b"\0\xf6"));
            index.change(&slot, Some(deadline_ms - 1), Some(deadline_ms));
        }
        assert!(listed(&index) <= 2, "{} places", listed(&index));
        assert_eq!(index.next_due(49_998, 10), None);
        assert_eq!(index.next_due(49_999, 10), Some(49_999));
        assert_eq!(index.take_expired(49_999).len(), 1);
        assert_eq!(listed(&index), 0);
    }

    #[test]
    fn many_that_expire_together_are_removed_in_pieces_and_in_order() {
        let mut index = ExpiryIndex::default();
        for number in 0..5_000 {
            index.insert(&slot(number, 10_000 + number / 100), 10_000 + number / 100);
        }
        let mut removed = 0;
        while let Some(up_to_ms) = index.next_due(20_000, 1_000) {
            let expired = index.take_expired(up_to_ms);
            assert!((1..=1_000).contains(&expired.len()), "{} at once", expired.len());
            let keys: Vec<_> = expired.iter().map(|slot| slot.key().to_vec()).collect();
            assert!(keys.is_sorted());
            removed += expired.len();
        }
        assert_eq!(removed, 5_000);
    }
}
