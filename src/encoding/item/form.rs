//! Form: bytes that are the same for all items that an expression takes for equal, so that one item is held against many at
//! the cost of each.

use super::{Item, Worth};
use crate::encoding::cbor::writer::write_bytes;
use crate::encoding::compare::canonical;
use crate::encoding::times::Moment;

/// Around the items of a list. No form begins with the latter.
const LIST: u8 = 0x9f;
const END: u8 = 0xff;
/// Before a date; of CBOR's own none begins so.
const DATE: u8 = 0xf8;

impl Item<'_> {
    /// `None` for what equals nothing: a NaN, or something with one in it.
    pub(crate) fn form(self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.put_form(&mut out)?;
        Some(out)
    }

    fn put_form(self, out: &mut Vec<u8>) -> Option<()> {
        match self.worth() {
            Worth::Text(bytes) | Worth::Bytes(bytes) => write_bytes(&bytes, out),
            Worth::List(list) => {
                out.push(LIST);
                list.items().try_for_each(|item| item.put_form(out))?;
                out.push(END);
            }
            Worth::Moment(moment) => {
                let (kind, number) = match moment {
                    Moment::Instant(number) => (0, number),
                    Moment::Naive(number) => (1, number),
                    Moment::Date(number) => (2, number),
                    Moment::Time(number) => (3, number),
                };
                out.extend_from_slice(&[DATE, kind]);
                out.extend_from_slice(&number.to_be_bytes());
            }
            _ => out.extend_from_slice(&canonical(self.bytes())?),
        }
        Some(())
    }
}
