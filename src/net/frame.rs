//! Frame: one request or answer on the wire, and the queue of frames that wait to be sent.
//!
//! ```text
//! u32 length of what follows | u8 kind | u64 request id | u16 method | payload        (little-endian)
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::error::{Error, ErrorKind};

/// Bytes of a frame before its payload.
pub(super) const HEADER_BYTES: usize = 15;

/// Bytes of the header that its length counts.
pub(super) const COUNTED_BYTES: usize = 11;

/// A payload from this size on is written from where it is; a smaller one is copied among its neighbours.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// Small frames are gathered into buffers of about this size.
const GATHERED_BYTES: usize = 128 * 1024;

/// Longest message of an error on the wire; the rest is cut off.
const MESSAGE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Request = 1,
    Response = 2,
    Error = 3,
}

impl FrameKind {
    pub(super) fn from_byte(byte: u8) -> Option<FrameKind> {
        [FrameKind::Request, FrameKind::Response, FrameKind::Error].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) id: u64,
    pub(super) method: u16,
    pub(super) payload: Vec<u8>,
}

/// An error as the payload of a frame: its code and its message.
pub(super) fn error_payload(error: &Error) -> Vec<u8> {
    let mut payload = error.kind().code().to_le_bytes().to_vec();
    payload.extend_from_slice(shortened(error.message(), MESSAGE_BYTES_MAX).as_bytes());
    payload
}

/// The error in the payload of a frame; a kind that this release does not know becomes `internal`.
pub(super) fn error_from(payload: &[u8]) -> Error {
    let Some((code, message)) = payload.split_first_chunk() else {
        return Error::new(ErrorKind::Internal, "the other side answered with an error that cannot be read");
    };
    let message = String::from_utf8_lossy(message);
    match ErrorKind::from_code(i32::from_le_bytes(*code)) {
        Some(kind) => Error::new(kind, message),
        None => Error::new(
            ErrorKind::Internal,
            format!("an error of a kind that this release does not know (upgrade it): {message}"),
        ),
    }
}

/// As much of a text as fits into so many bytes.
pub(super) fn shortened(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Frames in the order in which they go out, ready to be written.
///
/// - `bytes` is the sum of all chunks less what of the first was written.
#[derive(Default)]
pub(super) struct Queue {
    chunks: VecDeque<Vec<u8>>,
    written: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends a frame. Its length was checked against the limit of frames, so it fits the field.
    pub(super) fn push(&mut self, kind: FrameKind, id: u64, method: u16, payload: Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&((payload.len() + COUNTED_BYTES) as u32).to_le_bytes());
        header[4] = kind as u8;
        header[5..13].copy_from_slice(&id.to_le_bytes());
        header[13..].copy_from_slice(&method.to_le_bytes());
        self.bytes += header.len() + payload.len();
        let gathered = self.gathered();
        gathered.extend_from_slice(&header);
        if payload.len() < COPIED_BYTES_MAX {
            gathered.extend_from_slice(&payload);
        } else {
            self.chunks.push_back(payload);
        }
    }

    /// The buffer that takes small frames: the last one, if it is one and has room.
    fn gathered(&mut self) -> &mut Vec<u8> {
        let has_room =
            |chunk: &Vec<u8>| chunk.len() < GATHERED_BYTES && chunk.len() + COPIED_BYTES_MAX < chunk.capacity();
        if !self.chunks.back().is_some_and(has_room) {
            // The first buffer is small: most often one frame goes out alone.
            let bytes = if self.chunks.is_empty() { 2 * COPIED_BYTES_MAX } else { GATHERED_BYTES };
            self.chunks.push_back(Vec::with_capacity(bytes));
        }
        self.chunks.back_mut().expect("a buffer was just put there")
    }

    /// The next bytes to write.
    pub(super) fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        for (slot, chunk) in out.iter_mut().zip(&self.chunks) {
            *slot = IoSlice::new(&chunk[skip..]);
            (skip, count) = (0, count + 1);
        }
        count
    }

    /// So many bytes went out.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.written += bytes;
        while let Some(first) = self.chunks.front() {
            if self.written < first.len() {
                return;
            }
            self.written -= first.len();
            let done = self.chunks.pop_front();
            // The last buffer is used again, so that a connection in rhythm allocates nothing.
            if let Some(mut buffer) =
                done.filter(|done| self.chunks.is_empty() && done.capacity() == 2 * COPIED_BYTES_MAX)
            {
                buffer.clear();
                self.chunks.push_back(buffer);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_it_left() {
        for kind in ErrorKind::ALL {
            let back = error_from(&error_payload(&Error::new(*kind, "why ä")));
            assert_eq!((back.kind(), back.message()), (*kind, "why ä"));
        }
        let mut unknown = error_payload(&Error::new(ErrorKind::NotFound, "from the future"));
        unknown[..4].copy_from_slice(&9999i32.to_le_bytes());
        assert_eq!(error_from(&unknown).kind(), ErrorKind::Internal);
        assert!(error_from(&unknown).message().contains("from the future"));
        assert_eq!(error_from(&[1, 2]).kind(), ErrorKind::Internal);
        assert_eq!(error_payload(&Error::new(ErrorKind::Io, "ä".repeat(9000))).len(), 4 + MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_queue_gives_out_what_was_put_in_whatever_sizes_are_written() {
        for step in [1, 7, 15, 16, 4096, 16384, 100_000] {
            let mut queue = Queue::default();
            let mut expected = Vec::new();
            let mut got = Vec::new();
            for (id, size) in [0, 10, 16_383, 16_384, 5, 40_000, 40_000, 16_000, 16_000, 1].into_iter().enumerate() {
                let payload = vec![id as u8; size];
                expected.extend_from_slice(&((size + COUNTED_BYTES) as u32).to_le_bytes());
                expected.push(1);
                expected.extend_from_slice(&(id as u64).to_le_bytes());
                expected.extend_from_slice(&7u16.to_le_bytes());
                expected.extend_from_slice(&payload);
                queue.push(FrameKind::Request, id as u64, 7, payload);
                if id % 3 == 2 {
                    take(&mut queue, step, &mut got);
                }
            }
            while !queue.is_empty() {
                take(&mut queue, step, &mut got);
            }
            assert!(got == expected, "written in steps of {step}");
        }
    }

    fn take(queue: &mut Queue, step: usize, got: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = queue.slices(&mut slices);
        let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).take(step).collect();
        got.extend_from_slice(&bytes);
        queue.advance(bytes.len());
    }
}
