//! Wire: one authenticated connection, read and written frame by frame by the one task that owns it.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, AsyncWrite};

use super::frame::{COUNTED_BYTES, Frame, FrameKind, HEADER_BYTES, Queue};
use super::sockets::BoxStream;

/// Memory for what comes in: the first is what an idle connection holds, the second what a busy one does.
const BUFFER_BYTES_MIN: usize = 4 * 1024;
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Most chunks handed to the operating system at once.
const SLICES_MAX: usize = 32;

/// Most frames that a task takes in before it lets others have a turn.
pub(super) const FRAMES_A_TURN: usize = 256;

/// A connection after its handshake.
///
/// - Memory grows with what arrived, at most twofold, never with what a length claims.
/// - `queue` is what this side has begun to send.
pub(super) struct Wire {
    stream: BoxStream,
    frame_bytes_max: usize,
    buffer: Vec<u8>,
    parsed: usize,
    large: Option<Large>,
    pub(super) queue: Queue,
    needs_flush: bool,
}

/// A frame that is larger than the buffer, on its way in.
struct Large {
    frame: Frame,
    payload_bytes: usize,
}

impl Wire {
    pub(super) fn new(stream: BoxStream, frame_bytes_max: usize) -> Wire {
        Wire {
            stream,
            frame_bytes_max,
            buffer: Vec::new(),
            parsed: 0,
            large: None,
            queue: Queue::default(),
            needs_flush: false,
        }
    }

    /// The next frame; `None` when the other side closed the connection between two frames.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Frame>>> {
        loop {
            if self.large.is_none()
                && let Some(frame) = self.parse()?
            {
                return Poll::Ready(Ok(Some(frame)));
            }
            let bytes = match &mut self.large {
                Some(large) => {
                    let missing = large.payload_bytes - large.frame.payload.len();
                    if missing == 0 {
                        return Poll::Ready(Ok(self.large.take().map(|large| large.frame)));
                    }
                    let payload = &mut large.frame.payload;
                    if payload.len() == payload.capacity() {
                        payload.reserve_exact(missing.min(payload.len().max(BUFFER_BYTES_MAX)));
                    }
                    ready!(pin!((&mut self.stream).take(missing as u64).read_buf(payload)).poll(cx))?
                }
                None => {
                    self.make_room();
                    ready!(pin!(self.stream.read_buf(&mut self.buffer)).poll(cx))?
                }
            };
            if bytes == 0 {
                let between_frames = self.large.is_none() && self.buffer.is_empty();
                let end = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a frame");
                return Poll::Ready(if between_frames { Ok(None) } else { Err(end()) });
            }
        }
    }

    /// The next frame of what is in memory already. One that will not fit there moves to `large`.
    fn parse(&mut self) -> io::Result<Option<Frame>> {
        let bytes = &self.buffer[self.parsed..];
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = FrameKind::from_byte(header[4]).ok_or_else(|| garbage("a frame of an unknown kind"))?;
        let Some(payload_bytes) = length.checked_sub(COUNTED_BYTES) else {
            return Err(garbage("a frame shorter than its header"));
        };
        if payload_bytes > self.frame_bytes_max {
            return Err(garbage(format!("a frame of {length} bytes, at most {} are allowed", self.frame_bytes_max)));
        }
        let id = u64::from_le_bytes(header[5..13].try_into().expect("eight bytes"));
        let method = u16::from_le_bytes([header[13], header[14]]);
        if let Some(payload) = rest.get(..payload_bytes) {
            let frame = Frame { kind, id, method, payload: payload.to_vec() };
            self.parsed += HEADER_BYTES + payload_bytes;
            return Ok(Some(frame));
        }
        if HEADER_BYTES + payload_bytes > BUFFER_BYTES_MAX {
            let frame = Frame { kind, id, method, payload: rest.to_vec() };
            self.large = Some(Large { frame, payload_bytes });
            self.parsed = self.buffer.len();
        }
        Ok(None)
    }

    fn make_room(&mut self) {
        if self.parsed > 0 {
            self.buffer.drain(..self.parsed);
            self.parsed = 0;
        }
        if self.buffer.len() == self.buffer.capacity() {
            let bytes = (2 * self.buffer.len()).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
            self.buffer.reserve_exact(bytes.saturating_sub(self.buffer.len()).max(HEADER_BYTES));
        }
    }

    /// Writes out the queue; ready when all of it is on its way.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.queue.slices(&mut slices);
            let bytes = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.queue.advance(bytes);
            self.needs_flush = true;
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says to the other side that nothing more will come.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn garbage(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
impl Wire {
    /// Memory that what comes in takes up at this moment.
    pub(super) fn bytes_held(&self) -> usize {
        self.buffer.capacity() + self.large.as_ref().map_or(0, |large| large.frame.payload.capacity())
    }
}
