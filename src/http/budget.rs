//! Budget: the bytes that all requests together may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::StatusCode;

use super::answer::Fault;

/// Answers below this are not counted: a connection holds as much anyway.
const FREE_BYTES: usize = 64 * 1024;

/// Bytes that may still be taken.
#[derive(Clone)]
pub(super) struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Nothing yet; it grows.
    pub(super) fn begin(&self) -> Hold {
        Hold { budget: self.clone(), bytes: 0 }
    }

    /// The body of an answer, counted until it was sent or given up.
    pub(super) fn lend(&self, body: Vec<u8>) -> Result<Bytes, Fault> {
        if body.len() <= FREE_BYTES {
            return Ok(body.into());
        }
        let mut hold = self.begin();
        hold.grow(body.len())?;
        Ok(Bytes::from_owner(Lent { body, _hold: hold }))
    }
}

/// Bytes that are taken until this is dropped.
pub(super) struct Hold {
    budget: Budget,
    bytes: usize,
}

impl Hold {
    /// Takes more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        let taken = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            let message = "the server holds as many bytes of requests as it may; try again shortly";
            return Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", message));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

struct Lent {
    body: Vec<u8>,
    _hold: Hold,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_comes_back_with_the_last_of_its_bytes() {
        let budget = Budget::new(3 * FREE_BYTES);
        let lent = budget.lend(vec![0; 2 * FREE_BYTES]).unwrap();
        let part = lent.slice(1..2);
        drop(lent);
        assert!(budget.lend(vec![0; 2 * FREE_BYTES]).is_err());
        assert!(budget.lend(vec![0; 8]).is_ok(), "small answers are free");
        drop(part);
        assert!(budget.lend(vec![0; 2 * FREE_BYTES]).is_ok());
    }
}
