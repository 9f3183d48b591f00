//! The boundary: panics and errors arrive as statuses. Includes the source file, for the library's own artifacts
//! export C functions only.

#[allow(dead_code, missing_docs, non_camel_case_types, reason = "a part of the library, judged alone")]
#[path = "../src/status.rs"]
mod status;

use std::ffi::CStr;

use concord_kv::{Error, ErrorKind};
use status::{Failure, concord_error_name, concord_last_error, concord_status, enter};

fn text(pointer: *const std::ffi::c_char) -> String {
    assert!(!pointer.is_null());
    // SAFETY: every text of the interface is NUL-terminated and lives until the next failing call.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Promise: a defect inside answers `CONCORD_INTERNAL` with its message and does not unwind into C.
#[test]
fn a_panic_becomes_a_status() {
    let status = enter(|| panic!("the planted defect {}", 7));
    assert_eq!(status, concord_status::CONCORD_INTERNAL);
    assert!(text(concord_last_error()).contains("the planted defect 7"));
    let status = enter(|| std::panic::panic_any(5));
    assert_eq!(status, concord_status::CONCORD_INTERNAL);
    assert_eq!(enter(|| Ok(())), concord_status::CONCORD_OK);
}

/// Promise: every kind of error has the status of its number, and the same name.
#[test]
fn kinds_and_statuses_agree() {
    for kind in ErrorKind::ALL {
        let usual = enter(|| Err(Failure::Kind(*kind)));
        assert_eq!(usual as i32, kind.code(), "status of {kind}");
        assert_eq!(text(concord_last_error()), Error::from(*kind).message());
        assert_eq!(text(concord_error_name(kind.code())), kind.name());
        let own = enter(|| Err(Failure::Error(Error::new(*kind, "nul \0 in the middle"))));
        assert_eq!(own, usual);
        assert_eq!(text(concord_last_error()), "nul  in the middle");
    }
    let next = ErrorKind::ALL.iter().map(|kind| kind.code()).max().unwrap_or(0) + 1;
    assert_eq!(text(concord_error_name(next)), "unknown");
}
