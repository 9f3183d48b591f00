//! stand-in
use crate::error::*;
pub(crate) fn check_value(value: &[u8], bytes_max: usize) -> Result<()> {
    if value.len() > bytes_max {
        Err(ErrorKind::ValueTooLarge.into())
    } else if value.is_empty() {
        Err(ErrorKind::InvalidValue.into())
    } else {
        Ok(())
    }
}
