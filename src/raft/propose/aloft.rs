//! Aloft: what is on its way and may be given up before it comes back.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Things on their way, each with the time at which it is given up.
pub(super) struct Aloft<T> {
    all: Mutex<Vec<(Instant, Slot<T>)>>,
}

/// Holds one thing until somebody takes it: whoever brings it back, or whoever gives it up.
pub(super) struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(self.0.clone())
    }
}

impl<T> Slot<T> {
    pub(super) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl<T> Default for Aloft<T> {
    fn default() -> Aloft<T> {
        Aloft { all: Mutex::new(Vec::new()) }
    }
}

impl<T> Aloft<T> {
    /// Few are on their way at once, so those that are back are swept out here.
    pub(super) fn add(&self, give_up_at: Instant, thing: T) -> Slot<T> {
        let slot = Slot(Arc::new(Mutex::new(Some(thing))));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, slot)| !slot.is_empty());
        all.push((give_up_at, slot.clone()));
        slot
    }

    pub(super) fn take_all(&self) -> Vec<T> {
        let all = std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner));
        all.iter().filter_map(|(_, slot)| slot.take()).collect()
    }

    /// Those whose time is over.
    pub(super) fn take_late(&self, now: Instant) -> Vec<T> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let late =
            all.iter().filter(|(give_up_at, _)| *give_up_at <= now).filter_map(|(_, slot)| slot.take()).collect();
        all.retain(|(_, slot)| !slot.is_empty());
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn each_thing_is_taken_once() {
        let aloft = Aloft::default();
        let start = Instant::now();
        let (one, two) = (aloft.add(start + Duration::from_secs(1), 1), aloft.add(start + Duration::from_secs(2), 2));
        assert_eq!(one.take(), Some(1));
        assert!(aloft.take_late(start + Duration::from_secs(1)).is_empty());
        assert_eq!(aloft.take_late(start + Duration::from_secs(2)), [2]);
        assert_eq!(two.take(), None, "it was given up");
    }
}
