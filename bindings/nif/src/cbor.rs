//! Cbor: heads of CBOR items (RFC 8949), written shortest and read in every form.

pub(crate) const UNSIGNED: u8 = 0;
pub(crate) const NEGATIVE: u8 = 1;
pub(crate) const BYTES: u8 = 2;
pub(crate) const TEXT: u8 = 3;
pub(crate) const ARRAY: u8 = 4;
pub(crate) const MAP: u8 = 5;
pub(crate) const TAG: u8 = 6;

pub(crate) const FALSE: u8 = 0xf4;
pub(crate) const TRUE: u8 = 0xf5;
pub(crate) const NULL: u8 = 0xf6;
pub(crate) const FLOAT: u8 = 0xfb;
pub(crate) const BREAK: u8 = 0xff;

const INDEFINITE: u8 = 31;

/// Appends the shortest head.
#[inline]
pub(crate) fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    if argument < 24 {
        out.push(major | argument as u8);
    } else if argument <= 0xff {
        out.extend_from_slice(&[major | 24, argument as u8]);
    } else if argument <= 0xffff {
        let [a, b] = (argument as u16).to_be_bytes();
        out.extend_from_slice(&[major | 25, a, b]);
    } else if argument <= 0xffff_ffff {
        let [a, b, c, d] = (argument as u32).to_be_bytes();
        out.extend_from_slice(&[major | 26, a, b, c, d]);
    } else {
        out.push(major | 27);
        out.extend_from_slice(&argument.to_be_bytes());
    }
}

/// The bytes are not one value of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The first bytes of an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) major: u8,
    /// The lower five bits of the first byte.
    pub(crate) info: u8,
    pub(crate) argument: u64,
}

impl Head {
    pub(crate) fn is_indefinite(self) -> bool {
        self.info == INDEFINITE
    }
}

/// A position in encoded bytes. Never reads beyond their end.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Reads the head of an item. An indefinite length has the argument 0.
    #[inline]
    pub(crate) fn head(&mut self) -> Result<Head, Malformed> {
        let &first = self.bytes.get(self.at).ok_or(Malformed)?;
        self.at += 1;
        let (major, info) = (first >> 5, first & 31);
        let argument = match info {
            0..24 => u64::from(info),
            24 => u64::from(self.array::<1>()?[0]),
            25 => u64::from(u16::from_be_bytes(self.array()?)),
            26 => u64::from(u32::from_be_bytes(self.array()?)),
            27 => u64::from_be_bytes(self.array()?),
            INDEFINITE if matches!(major, BYTES | TEXT | ARRAY | MAP) => 0,
            _ => return Err(Malformed),
        };
        Ok(Head { major, info, argument })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let chunk = self.bytes[self.at..].first_chunk::<N>().ok_or(Malformed)?;
        self.at += N;
        Ok(*chunk)
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], Malformed> {
        if len > self.remaining() as u64 {
            return Err(Malformed);
        }
        let taken = &self.bytes[self.at..self.at + len as usize];
        self.at += len as usize;
        Ok(taken)
    }

    /// Whether the next byte ends an item of indefinite length; if so it is taken.
    pub(crate) fn is_break(&mut self) -> bool {
        let is_break = self.bytes.get(self.at) == Some(&BREAK);
        self.at += usize::from(is_break);
        is_break
    }

    /// The number of items of a list or entries of a map of definite length, each of at least `item_bytes_min` bytes.
    pub(crate) fn count(&self, head: Head, item_bytes_min: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(head.argument).map_err(|_| Malformed)?;
        if count > self.remaining() / item_bytes_min { Err(Malformed) } else { Ok(count) }
    }
}

/// The value of a float of 16 bits.
pub(crate) fn half_float(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let mantissa = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    }
}
