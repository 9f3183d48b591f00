//! Tls: certificates decide who is believed, and change without a restart.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key for these names.
    fn issue(&self, names: &[&str], until_year: i32) -> (String, String) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

const LATER_YEAR: i32 = 4000;

/// Writes the three files into a directory of their own.
struct Files {
    dir: TempDir,
    verify_node_id: bool,
}

impl Files {
    fn new(authority: &Authority, names: &[&str], verify_node_id: bool) -> Files {
        let files = Files { dir: tempfile::tempdir().unwrap(), verify_node_id };
        files.write(authority, authority.issue(names, LATER_YEAR));
        files
    }

    fn write(&self, authority: &Authority, (certificate, key): (String, String)) {
        let write = |name: &str, text: &str| {
            let (fresh, path) = (self.path("fresh"), self.path(name));
            std::fs::write(&fresh, text).unwrap();
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(fresh, path).unwrap();
        };
        write("node.pem", &certificate);
        write("node.key", &key);
        write("ca.pem", &authority.pem);
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(name)
    }

    fn open(&self) -> Result<Arc<Tls>> {
        let files = TlsFiles {
            certificate: self.path("node.pem"),
            private_key: self.path("node.key"),
            ca: self.path("ca.pem"),
            verify_node_id: self.verify_node_id,
        };
        Tls::open(files).map(Arc::new)
    }
}

const LOCAL: &[&str] = &["localhost", "127.0.0.1"];

async fn host_with(files: &Files) -> Host {
    let tls = Some(files.open().unwrap());
    Host::start_with(&TcpSockets, "127.0.0.1:0", NetLimits::default(), tls, Doorman::default()).await
}

async fn connect(host: &Host, tls: Option<&Arc<Tls>>) -> Result<Caller> {
    let options = ConnectOptions { tls: tls.cloned(), ..options(TcpSockets, NetLimits::default()) };
    Caller::connect(&options, &host.address, &peer(CLUSTER, 1), Expectation::default()).await
}

/// The outcome of one connection between these two.
async fn meet(server: &Files, client: &Files) -> Result<()> {
    let host = host_with(server).await;
    let caller = connect(&host, Some(&client.open().unwrap())).await?;
    assert_eq!(caller.call(ECHO, vec![7; 300_000]).await.unwrap(), [7; 300_000]);
    Ok(())
}

async fn refusal(server: &Files, client: &Files, says: &str) {
    let error = meet(server, client).await.expect_err(says);
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(error.message().contains(says), "{error}");
}

#[tokio::test]
async fn certificates_of_one_authority_let_both_sides_in() {
    let authority = Authority::new("one");
    meet(&Files::new(&authority, LOCAL, false), &Files::new(&authority, LOCAL, false)).await.unwrap();
}

#[tokio::test]
async fn another_authority_is_refused_by_whoever_sees_it() {
    let (ours, theirs) = (Authority::new("one"), Authority::new("other"));
    refusal(&Files::new(&ours, LOCAL, false), &Files::new(&theirs, LOCAL, false), "UnknownIssuer").await;
    // The client trusts the server, but its own certificate is of another authority.
    let client = Files::new(&ours, LOCAL, false);
    client.write(&ours, theirs.issue(LOCAL, LATER_YEAR));
    refusal(&Files::new(&ours, LOCAL, false), &client, "alert").await;
}

#[tokio::test]
async fn certificates_that_expired_or_name_another_host_are_refused() {
    let authority = Authority::new("one");
    let good = Files::new(&authority, LOCAL, false);
    let expired = Files::new(&authority, LOCAL, false);
    expired.write(&authority, authority.issue(LOCAL, 2001));
    refusal(&expired, &good, "xpired").await;
    refusal(&good, &expired, "xpired").await;
    refusal(&Files::new(&authority, &["elsewhere"], false), &good, "not valid for name").await;
}

#[tokio::test]
async fn plaintext_and_tls_do_not_mix() {
    let authority = Authority::new("one");
    let files = Files::new(&authority, LOCAL, false);
    let host = host_with(&files).await;
    let error = connect(&host, None).await.err().expect("plaintext to a TLS port");
    assert!(matches!(error.kind(), ErrorKind::ClusterNotReady | ErrorKind::InvalidConfig), "{error}");
    let plain = Host::start(&TcpSockets, "127.0.0.1:0", NetLimits::default()).await;
    let error = connect(&plain, Some(&files.open().unwrap())).await.err().expect("TLS to a plaintext port");
    assert!(error.message().contains("TLS"), "{error}");
}

/// S2: the certificate says which node it is.
#[tokio::test]
async fn a_certificate_of_another_node_is_refused_where_node_ids_are_verified() {
    let authority = Authority::new("one");
    let files = |id: u64| Files::new(&authority, &["127.0.0.1", &format!("{id}.node.concord")], true);
    meet(&files(NODE), &files(1)).await.unwrap();
    refusal(&files(NODE), &files(2), "1.node.concord").await;
    refusal(&files(8), &files(1), "7.node.concord").await;
    // A client is no node: its certificate only has to come from the authority.
    let host = host_with(&files(NODE)).await;
    let client = Hello { role: Role::Client, cluster_id: 0, node_id: 0, token: 0, address: String::new() };
    let tls = Some(Files::new(&authority, LOCAL, true).open().unwrap());
    let options = ConnectOptions { tls, ..options(TcpSockets, NetLimits::default()) };
    Caller::connect(&options, &host.address, &client, Expectation::default()).await.unwrap();
}

#[tokio::test]
async fn new_certificates_are_used_without_a_restart_and_bad_ones_change_nothing() {
    let (old, new) = (Authority::new("one"), Authority::new("other"));
    let server = Files::new(&old, LOCAL, false);
    let host = host_with(&server).await;
    let old_client = Files::new(&old, LOCAL, false).open().unwrap();
    let new_client = Files::new(&new, LOCAL, false).open().unwrap();
    let open = connect(&host, Some(&old_client)).await.unwrap();
    connect(&host, Some(&new_client)).await.err().expect("not yet known");

    std::fs::write(server.path("node.pem"), "half of a certif").unwrap();
    connect(&host, Some(&old_client)).await.expect("the last good one stays in use");

    server.write(&new, new.issue(LOCAL, LATER_YEAR));
    connect(&host, Some(&new_client)).await.expect("the new one is used");
    connect(&host, Some(&old_client)).await.err().expect("the old authority is gone");
    assert_eq!(open.call(ECHO, vec![1]).await.unwrap(), [1], "open connections live on");
}

#[test]
fn files_that_cannot_be_used_are_refused_with_their_names() {
    let authority = Authority::new("one");
    let files = Files::new(&authority, LOCAL, false);
    let refused = |says: &str| {
        let error = files.open().err().expect(says);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains(says), "{error}");
    };
    std::fs::set_permissions(files.path("node.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    refused("chmod 600");
    files.write(&authority, (authority.issue(LOCAL, LATER_YEAR).0, authority.issue(LOCAL, LATER_YEAR).1));
    refused("do not go together");
    std::fs::write(files.path("ca.pem"), "").unwrap();
    refused("ca.pem");
    std::fs::remove_file(files.path("node.pem")).unwrap();
    refused("node.pem");
}
