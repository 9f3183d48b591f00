//! Consumers as bytes, for the log and for snapshots.
//!
//! ```text
//! create      := name  kinds (1)  0 | 1 revision changes  selector                  0: with the next change
//! acknowledge := name  revision  changes
//! ```

use super::selector::{put_selector, read_selector};
use crate::encoding::event::{put_position, read_position};
use crate::encoding::wire::{WireReader, damaged, put_bytes};
use crate::error::Result;
use crate::limits::CONSUMER_NAME_BYTES_MAX;
use crate::model::{ConsumerItem, EventKinds};

pub(super) fn put_consumer(out: &mut Vec<u8>, item: &ConsumerItem<'_>) {
    put_bytes(out, item.name.as_bytes());
    out.push(item.kinds.to_bits());
    out.push(u8::from(item.start.is_some()));
    if let Some(start) = item.start {
        put_position(out, start);
    }
    put_selector(out, &item.selector);
}

pub(super) fn read_consumer<'a>(reader: &mut WireReader<'a>) -> Result<ConsumerItem<'a>> {
    let (name, kinds) = (read_consumer_name(reader)?, read_kinds(reader)?);
    let start = match reader.u8()? {
        0 => None,
        1 => Some(read_position(reader)?),
        _ => return Err(damaged("a consumer that begins nowhere")),
    };
    Ok(ConsumerItem { name, kinds, start, selector: read_selector(reader)? })
}

pub(crate) fn read_kinds(reader: &mut WireReader<'_>) -> Result<EventKinds> {
    EventKinds::from_bits(reader.u8()?).ok_or_else(|| damaged("unknown kinds of changes"))
}

/// A name within its bounds.
pub(crate) fn read_consumer_name<'a>(reader: &mut WireReader<'a>) -> Result<&'a str> {
    let name = std::str::from_utf8(reader.bytes()?).map_err(|_| damaged("text that is no UTF-8"))?;
    if (1..=CONSUMER_NAME_BYTES_MAX).contains(&name.len()) {
        Ok(name)
    } else {
        Err(damaged("a name that no consumer can have"))
    }
}
