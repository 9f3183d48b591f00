//! Tls: encrypted connections with certificates on both sides, re-read when their files change.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::client::{Resumption, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::hello::{Hello, Role};
use super::sockets::{BoxStream, host_of};
use crate::error::{Error, ErrorKind, Result};

/// Where the certificates are, all of them PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// This node's certificate, followed by those between it and the CA. Valid for the host in its address.
    pub(crate) certificate: PathBuf,
    /// Its private key; nobody but the owner may read the file.
    pub(crate) private_key: PathBuf,
    /// The authorities that the other side's certificate must come from.
    pub(crate) ca: PathBuf,
    /// Whether a node's certificate must also be valid for `<node id>.node.concord`.
    pub(crate) verify_node_id: bool,
}

/// TLS 1.2 and 1.3, certificates required of both sides, no plaintext beside it.
///
/// - Sessions are never resumed: each connection is judged by the certificates and authorities of its own time.
/// - Files that are being swapped, or became unreadable, leave the last good ones in use.
pub(crate) struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    stamp: Vec<Stamp>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// What changes when a file does: time of change, size, inode.
type Stamp = (i64, i64, u64, u64);

impl Tls {
    /// Reads the files; `invalid_config` says what is wrong with which.
    pub(crate) fn open(files: TlsFiles) -> Result<Tls> {
        let loaded = Mutex::new(load(&files)?);
        Ok(Tls { files, loaded })
    }

    /// What new connections use: the files of this moment, as long as they are good.
    fn current(&self) -> Loaded {
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let TlsFiles { certificate, private_key, ca, .. } = &self.files;
        if stamps([certificate, private_key, ca]).is_ok_and(|stamp| stamp != loaded.stamp)
            && let Ok(fresh) = load(&self.files)
        {
            *loaded = fresh;
        }
        loaded.clone()
    }

    /// The side that connects to `address`.
    pub(super) async fn connect(&self, address: &str, stream: BoxStream) -> Result<(BoxStream, Certificate)> {
        let name = ServerName::try_from(host_of(address).to_owned()).map_err(|error| {
            invalid(format!("{address}: a certificate needs a host name or an IP address: {error}"))
        })?;
        let stream = TlsConnector::from(self.current().client)
            .connect(name, stream)
            .await
            .map_err(|error| refused(address, error))?;
        let certificate = self.certificate(stream.get_ref().1.peer_certificates());
        Ok((Box::new(stream), certificate))
    }

    /// The side that was connected to.
    pub(super) async fn accept(&self, stream: BoxStream) -> Result<(BoxStream, Certificate)> {
        let stream = TlsAcceptor::from(self.current().server)
            .accept(stream)
            .await
            .map_err(|error| refused("the other side", error))?;
        let certificate = self.certificate(stream.get_ref().1.peer_certificates());
        Ok((Box::new(stream), certificate))
    }

    fn certificate(&self, chain: Option<&[CertificateDer<'static>]>) -> Certificate {
        let first = chain.and_then(<[_]>::first).cloned();
        Certificate { first, verify_node_id: self.files.verify_node_id }
    }
}

/// TLS 1.2 and 1.3 for a server whose clients show no certificate; HTTP/2 for those that ask for it.
///
/// - Files that are being swapped, or became unreadable, leave the last good ones in use.
pub(crate) struct ServerTls {
    certificate: PathBuf,
    private_key: PathBuf,
    loaded: Mutex<(Vec<Stamp>, Arc<ServerConfig>)>,
}

impl ServerTls {
    /// Reads the files (PEM); `invalid_config` says what is wrong with which.
    pub(crate) fn open(certificate: PathBuf, private_key: PathBuf) -> Result<ServerTls> {
        let loaded = Mutex::new(load_server(&certificate, &private_key)?);
        Ok(ServerTls { certificate, private_key, loaded })
    }

    fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if stamps([&self.certificate, &self.private_key]).is_ok_and(|stamp| stamp != loaded.0)
            && let Ok(fresh) = load_server(&self.certificate, &self.private_key)
        {
            *loaded = fresh;
        }
        loaded.1.clone()
    }

    /// The encrypted stream, and whether the client wants HTTP/2.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, bool)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.current()).accept(stream).await?;
        let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, speaks_http2))
    }
}

fn load_server(certificate: &PathBuf, key: &PathBuf) -> Result<(Vec<Stamp>, Arc<ServerConfig>)> {
    // Taken first: a file that changes while it is read is read again.
    let stamp = stamps([certificate, key])?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Internal, format!("no common TLS version: {error}")))?
        .with_no_client_auth()
        .with_single_cert(certificates(certificate)?, private_key(key)?)
        .map_err(|error| {
            invalid(format!("{} and {} do not go together: {error}", certificate.display(), key.display()))
        })?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((stamp, Arc::new(server)))
}

/// What the other side showed; its chain has been verified.
pub(super) struct Certificate {
    first: Option<CertificateDer<'static>>,
    verify_node_id: bool,
}

impl Certificate {
    /// Whether the certificate belongs to the node that the hello speaks of.
    pub(super) fn check(&self, hello: &Hello) -> Result<()> {
        if !self.verify_node_id || hello.role == Role::Client {
            return Ok(());
        }
        let name = format!("{}.node.concord", hello.node_id);
        let is_valid = || {
            let certificate = ParsedCertificate::try_from(self.first.as_ref()?).ok()?;
            verify_server_name(&certificate, &ServerName::try_from(name.as_str()).ok()?).ok()
        };
        is_valid().ok_or_else(|| {
            let message = format!(
                "the certificate of node {} is not valid for the name {name}; issue one that is, or set \
                 `verify_node_id` to false",
                hello.node_id
            );
            Error::new(ErrorKind::Unauthorized, message)
        })
    }
}

/// TLS did not come about.
pub(super) fn refused(address: &str, error: io::Error) -> Error {
    if error.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()) {
        let message = format!(
            "{address} ended the connection during the TLS handshake ({error}); try again shortly, and check that \
             both sides use TLS"
        );
        return Error::new(ErrorKind::ClusterNotReady, message).with_source(error);
    }
    let message = format!("TLS with {address} failed: {error}; check the certificates and the `ca` of both sides");
    Error::new(ErrorKind::Unauthorized, message).with_source(error)
}

fn load(files: &TlsFiles) -> Result<Loaded> {
    // Taken first: a file that changes while it is read is read again.
    let stamp = stamps([&files.certificate, &files.private_key, &files.ca])?;
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.private_key)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca)? {
        roots.add(certificate).map_err(|error| {
            invalid(format!("{} holds what is no certificate of an authority: {error}", files.ca.display()))
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (roots, mismatch) = (Arc::new(roots), |error| {
        let (certificate, key) = (files.certificate.display(), files.private_key.display());
        invalid(format!("{certificate} and {key} do not go together: {error}"))
    });
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| invalid(format!("{}: {error}", files.ca.display())))?;
    let versions = |error| Error::new(ErrorKind::Internal, format!("no common TLS version: {error}"));
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(versions)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(mismatch)?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(versions)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(mismatch)?;
    client.resumption = Resumption::disabled();
    Ok(Loaded { stamp, server: Arc::new(server), client: Arc::new(client) })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(format!("{} is not PEM: {error}", path.display())))?;
    if found.is_empty() {
        return Err(invalid(format!("no certificate in {}; PEM is expected", path.display())));
    }
    Ok(found)
}

/// A key that nobody but its owner may read.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let mode = metadata(path)?.mode();
    if mode & 0o077 != 0 {
        return Err(invalid(format!(
            "others may read the private key {} (mode {:03o}); run `chmod 600` on it",
            path.display(),
            mode & 0o777
        )));
    }
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|error| invalid(format!("no private key in {}: {error}", path.display())))
}

fn stamps<const N: usize>(files: [&PathBuf; N]) -> Result<Vec<Stamp>> {
    let stamp = |path: &PathBuf| metadata(path).map(|data| (data.mtime(), data.mtime_nsec(), data.size(), data.ino()));
    files.into_iter().map(stamp).collect()
}

fn metadata(path: &Path) -> Result<Metadata> {
    fs::metadata(path).map_err(|error| unreadable(path, error))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    invalid(format!("cannot read {}: {error}; correct the `tls` setting", path.display())).with_source(error)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
