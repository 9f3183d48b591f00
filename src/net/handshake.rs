//! Handshake: both ends prove that they know the shared secret before anything else of them is believed. A client may name
//! a token instead, in its hello: then the proofs are those of [`super::proof`] for tokens, and it stays a client.
//!
//! ```text
//! client -> server   magic | version | nonce | target node id | hello
//! server -> client   magic | version | answer: nonce                       (or a refusal: the version is too new)
//! client -> server   proof("client", first two messages)
//! server -> client   answer | length | hello or refusal | proof("server", all of the above)
//! ```
//!
//! The server asks the gate only after the client's proof, and says nothing of itself before it. Everything is of
//! bounded size, so whoever has proved nothing can make a node keep less than a kibibyte.
//! Frames after it are as safe as the network: the proofs keep strangers and mistakes out, TLS keeps out
//! those who sit on the line.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frame::{error_from, error_payload};
use super::hello::{Expectation, FIXED_BYTES, Hello, wrong_cluster, wrong_node};
use super::proof::{CLIENT, Credential, PROOF_BYTES, SharedSecret, StoredToken, Transcript};
use super::server::Gate;
use super::sockets::BoxStream;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"CONCORD\0";

/// Version of the handshake and of the frames after it. Since 2 a hello names a token.
pub(super) const VERSION: u16 = 2;

const NONCE_BYTES: usize = 32;

/// Start of the client's first message, before its hello.
const OPENING_BYTES: usize = 8 + 2 + NONCE_BYTES + 8;
const CHALLENGE_BYTES: usize = 8 + 2 + NONCE_BYTES;

/// Longest hello or refusal in the server's last message.
const VERDICT_BYTES_MAX: usize = 600;

const SERVER_ACCEPTS: &[u8] = b"concord server accepts";
const SERVER_REFUSES: &[u8] = b"concord server refuses";

/// First byte of the server's last message.
const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;
const WRONG_PROOF: u8 = 3;

/// The side that connects: returns who answered.
pub(super) async fn introduce(
    stream: &mut BoxStream,
    address: &str,
    hello: &Hello,
    credential: &Credential,
    expect: Expectation,
) -> Result<Hello> {
    let mut opening = start()?;
    opening.extend_from_slice(&expect.node_id.unwrap_or(0).to_le_bytes());
    hello.encode(&mut opening)?;
    let lost = |error| lost(address, error);
    // Should this fail, reading tells why: a TLS alert, or the end of the connection.
    if stream.write_all(&opening).await.is_ok() {
        let _ = stream.flush().await;
    }
    let mut challenge = [0; CHALLENGE_BYTES];
    stream.read_exact(&mut challenge).await.map_err(lost)?;
    if !challenge.starts_with(MAGIC) {
        let message = format!("what answers at {address} is no Concord node; correct the address or its `tls` setting");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    let version = u16::from_le_bytes([challenge[8], challenge[9]]);
    if version != VERSION {
        let message = format!(
            "the node at {address} speaks protocol version {version}, this one version {VERSION}; upgrade the older one"
        );
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    let proof = credential.proof(&[&opening, &challenge]);
    stream.write_all(&proof).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;

    let (tag, verdict, server_proof) = read_verdict(stream).await.map_err(lost)?;
    let transcript: [&[u8]; 4] = [&opening, &challenge, &proof, &verdict];
    let proves = |label| credential.verify(label, &transcript, &server_proof);
    match tag {
        ACCEPTED if proves(SERVER_ACCEPTS) => {
            let answered = Hello::decode(&verdict).ok_or_else(|| {
                Error::new(ErrorKind::Internal, format!("{address} sent a hello that cannot be read"))
            })?;
            expect.check(&answered, address)?;
            Ok(answered)
        }
        REFUSED if proves(SERVER_REFUSES) => Err(error_from(&verdict)),
        _ => Err(Error::new(ErrorKind::Unauthorized, credential.refusal(address))),
    }
}

/// The side that was connected to: `admit` decides about a client that has proved itself, and what it returns
/// is kept beside its hello. `Err` says why the connection has to be closed. Tokens are the gate's matter; it is told
/// `from` where they are tried.
pub(super) async fn receive<T>(
    stream: &mut BoxStream,
    own: &Hello,
    secret: &SharedSecret,
    (gate, from): (&dyn Gate, &str),
    admit: impl FnOnce(&Hello) -> Result<T>,
) -> Result<(Hello, T)> {
    let lost = |error| lost("the other side", error);
    let mut opening = vec![0; OPENING_BYTES];
    stream.read_exact(&mut opening[..10]).await.map_err(lost)?;
    if !opening.starts_with(MAGIC) {
        return Err(Error::new(ErrorKind::InvalidConfig, "what connected is no Concord node"));
    }
    let challenge = start()?;
    let version = u16::from_le_bytes([opening[8], opening[9]]);
    if version != VERSION {
        // Our version is the answer: the other side says what to do.
        stream.write_all(&challenge).await.map_err(lost)?;
        stream.flush().await.map_err(lost)?;
        let message =
            format!("protocol version {version} connected, this node speaks {VERSION}; upgrade the older one");
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    stream.read_exact(&mut opening[10..]).await.map_err(lost)?;
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await.map_err(lost)?;
    let unreadable = || Error::new(ErrorKind::InvalidConfig, "a hello that cannot be read");
    let address_bytes = Hello::address_bytes(&fixed).ok_or_else(unreadable)?;
    opening.extend_from_slice(&fixed);
    opening.resize(OPENING_BYTES + FIXED_BYTES + address_bytes, 0);
    stream.read_exact(&mut opening[OPENING_BYTES + FIXED_BYTES..]).await.map_err(lost)?;
    let hello = Hello::decode(&opening[OPENING_BYTES..]).ok_or_else(unreadable)?;

    stream.write_all(&challenge).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await.map_err(lost)?;
    let judge = match hello.token {
        0 => Judge::Cookie(secret),
        token => Judge::of_token(gate.stored_token(from, token)),
    };
    let is_right = judge.accepts(&[&opening, &challenge], &proof);
    if let Judge::Token { is_counted: true, .. } = judge {
        gate.tried_token(from, is_right);
    }
    if !is_right {
        write_verdict(stream, WRONG_PROOF, &[], &[0; PROOF_BYTES]).await.map_err(lost)?;
        return Err(judge.refusal());
    }
    let target = u64::from_le_bytes(opening[OPENING_BYTES - 8..OPENING_BYTES].try_into().expect("eight bytes"));
    let admitted = meant_for(own, target, &hello).and_then(|()| admit(&hello));
    let mut verdict = Vec::new();
    match &admitted {
        Ok(_) => own.encode(&mut verdict)?,
        Err(error) => verdict = error_payload(error),
    }
    verdict.truncate(VERDICT_BYTES_MAX);
    let (tag, label) = if admitted.is_ok() { (ACCEPTED, SERVER_ACCEPTS) } else { (REFUSED, SERVER_REFUSES) };
    let server_proof = judge.proof(label, &[&opening, &challenge, &proof, &verdict]);
    write_verdict(stream, tag, &verdict, &server_proof).await.map_err(lost)?;
    admitted.map(|kept| (hello, kept))
}

/// What the server holds a client's proof against.
enum Judge<'a> {
    Cookie(&'a SharedSecret),
    Token { stored: StoredToken, is_counted: bool },
}

impl Judge<'_> {
    /// An attempt that is not looked at is refused like any other, and not counted.
    fn of_token(hash: Result<Option<[u8; 32]>>) -> Judge<'static> {
        Judge::Token { is_counted: hash.is_ok(), stored: StoredToken::new(hash.ok().flatten()) }
    }

    fn accepts(&self, transcript: Transcript<'_>, proof: &[u8; PROOF_BYTES]) -> bool {
        match self {
            Judge::Cookie(secret) => secret.verify(CLIENT, transcript, proof),
            Judge::Token { stored, .. } => stored.verify(transcript, proof),
        }
    }

    fn proof(&self, label: &[u8], transcript: Transcript<'_>) -> [u8; PROOF_BYTES] {
        match self {
            Judge::Cookie(secret) => secret.proof(label, transcript),
            Judge::Token { stored, .. } => stored.proof(label, transcript),
        }
    }

    fn refusal(&self) -> Error {
        let message = match self {
            Judge::Cookie(_) => "the other side has another `cluster_cookie`",
            Judge::Token { .. } => "the other side holds no valid token",
        };
        Error::new(ErrorKind::Unauthorized, message)
    }
}

/// Whether the client means this node and its cluster.
fn meant_for(own: &Hello, target: u64, hello: &Hello) -> Result<()> {
    if target != 0 && target != own.node_id {
        return Err(wrong_node(own.node_id, target, &own.address));
    }
    if hello.cluster_id != 0 && own.cluster_id != 0 && hello.cluster_id != own.cluster_id {
        return Err(wrong_cluster(own.cluster_id, hello.cluster_id, &own.address));
    }
    Ok(())
}

/// Magic, version and a fresh nonce: how both sides begin.
fn start() -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the operating system gives no random numbers: {error}"))
    })?;
    Ok([MAGIC.as_slice(), &VERSION.to_le_bytes(), &nonce].concat())
}

async fn write_verdict(stream: &mut BoxStream, tag: u8, verdict: &[u8], proof: &[u8]) -> io::Result<()> {
    let length = (verdict.len() as u16).to_le_bytes();
    stream.write_all(&[&[tag], length.as_slice(), verdict, proof].concat()).await?;
    stream.flush().await
}

async fn read_verdict(stream: &mut BoxStream) -> io::Result<(u8, Vec<u8>, [u8; PROOF_BYTES])> {
    let mut start = [0; 3];
    stream.read_exact(&mut start).await?;
    let bytes = u16::from_le_bytes([start[1], start[2]]) as usize;
    if bytes > VERDICT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is too long"));
    }
    let mut verdict = vec![0; bytes];
    stream.read_exact(&mut verdict).await?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    Ok((start[0], verdict, proof))
}

/// The connection broke before it was one. A TLS alert that arrives only now keeps its meaning.
fn lost(address: &str, error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return super::tls::refused(address, error);
    }
    let message = format!("the connection with {address} ended during the handshake ({error}); try again shortly");
    Error::new(ErrorKind::ClusterNotReady, message).with_source(error)
}
