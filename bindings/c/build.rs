//! Gives the shared library its SONAME, which plain cargo does not, and keeps it mapped once loaded:
//! its threads must never find their code unmapped by `dlclose`.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libconcord_kv.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    link_by_soname();
}

/// Programs linked against cargo's folder look there for the SONAME: `target/release/libconcord_kv.so.0`.
fn link_by_soname() {
    #[cfg(unix)]
    if let Some(folder) = std::env::var_os("OUT_DIR").as_deref().and_then(|out| Path::new(out).ancestors().nth(3)) {
        // There already is the usual case; without the link only such uninstalled programs are worse off.
        let _ = std::os::unix::fs::symlink("libconcord_kv.so", folder.join("libconcord_kv.so.0"));
    }
}
