//! Tls: HTTPS alone on its port, in HTTP/1.1 and HTTP/2, with certificates that can be renewed.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use concord_kv::{ErrorKind, HttpTlsConfig, Serving};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Answer, Server, connect, read_all, request, server_with};

/// Writes a certificate of localhost with its key.
fn certify(dir: &Path) -> HttpTlsConfig {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = HttpTlsConfig { certificate: dir.join("cert.pem"), private_key: dir.join("key.pem") };
    std::fs::write(&files.certificate, cert.pem()).unwrap();
    std::fs::write(&files.private_key, signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&files.private_key, std::fs::Permissions::from_mode(0o600)).unwrap();
    files
}

fn secure(files: &HttpTlsConfig) -> Server {
    server_with(|config| config.http.tls = Some(files.clone()))
}

fn trust(files: &HttpTlsConfig) -> RootCertStore {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    roots
}

/// One request with this version of TLS.
fn ask(
    server: &Server,
    roots: RootCertStore,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<Answer, std::io::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream: StreamOwned<ClientConnection, TcpStream> = StreamOwned::new(client, connect(server.address()));
    stream.write_all(&request("GET", "/health", &[], b""))?;
    Ok(Answer::read(&read_all(&mut stream)))
}

#[test]
fn both_versions_of_tls_are_served_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let files = certify(dir.path());
    let server = secure(&files);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        assert_eq!(ask(&server, trust(&files), version).unwrap().status, 200);
    }
    assert!(ask(&server, RootCertStore::empty(), &rustls::version::TLS13).is_err(), "a client that does not trust it");
    assert_eq!(server.raw_status(&request("GET", "/health", &[], b"")), 0, "plain HTTP is closed");
    let old = Command::new("curl").args(["-sk", "--tls-max", "1.1", &url(&server, "/health")]).status().unwrap();
    assert!(!old.success(), "TLS 1.1");
}

fn url(server: &Server, path: &str) -> String {
    format!("https://localhost:{}{path}", server.address().port())
}

#[test]
fn http2_is_there_for_those_who_ask() {
    let dir = tempfile::tempdir().unwrap();
    let server = secure(&certify(dir.path()));
    let curl = |arguments: &[&str], path: &str| {
        let form = ["-sk", "-w", "\n%{http_version} %{http_code}"];
        let output = Command::new("curl").args(form).args(arguments).arg(url(&server, path)).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let put = ["--http2", "-X", "PUT", "-H", "Content-Type: application/json", "-d", r#"{"value":"two"}"#];
    assert!(curl(&put, "/api/v1/kv/k").ends_with("\n2 200"));
    assert_eq!(curl(&["--http2"], "/api/v1/kv/k"), "{\"status\":\"ok\",\"data\":\"two\"}\n2 200");
    assert!(curl(&["--http1.1"], "/api/v1/kv/k").ends_with("\n1.1 200"));
    let long = format!("X-Long: {}", "x".repeat(20 * 1024));
    assert!(curl(&["--http2", "-H", &long], "/health").ends_with("431"));
    let large = dir.path().join("large");
    std::fs::write(&large, vec![b' '; 9 * 1024 * 1024]).unwrap();
    let data = format!("@{}", large.display());
    let refused =
        curl(&["--http2", "-X", "PUT", "-H", "Content-Type: application/json", "--data-binary", &data], "/api/v1/kv/k");
    // The stream is reset behind the answer, which may be lost on the way.
    assert!(refused.ends_with("413") || refused.ends_with("000"), "{refused}");
    assert!(curl(&["--http2"], "/health").ends_with("\n2 200"));
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let files = certify(dir.path());
    let server = secure(&files);
    let old = trust(&files);
    std::fs::write(&files.certificate, "no certificate").unwrap();
    assert_eq!(ask(&server, old.clone(), &rustls::version::TLS13).unwrap().status, 200, "the last good one stays");
    certify(dir.path());
    assert!(ask(&server, old, &rustls::version::TLS13).is_err());
    assert_eq!(ask(&server, trust(&files), &rustls::version::TLS13).unwrap().status, 200);
}

#[test]
fn certificates_that_cannot_be_used_are_told_before_anything_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let files = certify(dir.path());
    let mut config = concord_kv::Config { http: crate::client::any_port(), ..concord_kv::Config::default() };
    let db = concord_kv::Concord::open(config.clone()).unwrap();
    let mut refused = |files: HttpTlsConfig| {
        config.http.tls = Some(files);
        let error = Serving::start(&db, &config).err().expect("it cannot be used");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.message().to_owned()
    };
    assert!(refused(HttpTlsConfig { certificate: dir.path().join("none.pem"), ..files.clone() }).contains("none.pem"));
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let other = certify(&other);
    assert!(refused(HttpTlsConfig { private_key: other.private_key, ..files.clone() }).contains("do not go together"));
    std::fs::set_permissions(&files.private_key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(files).contains("chmod 600"));
}
