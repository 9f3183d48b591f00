//! Handshake: who may not come in learns why, and the secret never travels.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Connects and has to be refused.
async fn refusal(doorman: Doorman, cookie: &str, hello: Hello, expect: Expectation) -> (Host, Error) {
    let memory = Memory::default();
    let host = Host::start_with(&memory, "host:1", NetLimits::default(), None, doorman).await;
    let credential = SharedSecret::new(cookie).unwrap().into();
    let options = ConnectOptions { credential, ..options(memory, NetLimits::default()) };
    let error = Caller::connect(&options, "host:1", &hello, expect).await.err().expect("this one may not come in");
    (host, error)
}

#[tokio::test]
async fn another_secret_is_refused_and_both_sides_know_why() {
    let (host, error) = refusal(Doorman::default(), "other", peer(CLUSTER, 1), Expectation::default()).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.message().contains("set the same `cluster_cookie`"), "{error}");
    while host.doorman.turned_away.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.doorman.turned_away.lock().unwrap()[0].kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn another_cluster_is_refused_by_both_sides() {
    let (_, error) = refusal(Doorman::default(), COOKIE, peer(0xbad, 1), Expectation::default()).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("node7:9000 belongs to cluster") && error.message().contains("bad"), "{error}");
    let expect = Expectation { cluster_id: Some(0xbad), node_id: None };
    let (_, error) = refusal(Doorman::default(), COOKIE, peer(0, 1), expect).await;
    assert!(error.message().contains("host:1 belongs to cluster"), "{error}");
}

/// B11: an address was given to another node.
#[tokio::test]
async fn another_node_than_the_expected_one_is_refused() {
    let expect = Expectation { cluster_id: Some(CLUSTER), node_id: Some(8) };
    let (_, error) = refusal(Doorman::default(), COOKIE, peer(CLUSTER, 1), expect).await;
    assert_eq!(error.kind(), ErrorKind::ClusterNotReady);
    assert!(error.message().contains("node 7 answers") && error.message().contains("node 8"), "{error}");
    let check = expect.check(&peer(CLUSTER, 7), "host:1").unwrap_err();
    assert!(check.message().contains("node 7 answers at host:1"), "the client looks for itself too: {check}");
}

#[tokio::test]
async fn the_gate_has_the_last_word_and_its_reason_arrives() {
    let doorman = Doorman { refuses: Some("node 1 was removed; wipe its data directory"), ..Doorman::default() };
    let (_, error) = refusal(doorman, COOKIE, peer(CLUSTER, 1), Expectation::default()).await;
    assert_eq!((error.kind(), error.message()), (ErrorKind::Forbidden, "node 1 was removed; wipe its data directory"));
}

#[tokio::test]
async fn a_hello_that_nobody_would_accept_is_refused_before_it_is_sent() {
    let too_long = Hello { address: "a".repeat(257), ..peer(CLUSTER, 1) };
    let not_visible = Hello { address: "a\nb:1".to_owned(), ..peer(CLUSTER, 1) };
    for hello in [too_long, not_visible, peer(CLUSTER, 0)] {
        let (_, error) = refusal(Doorman::default(), COOKIE, hello, Expectation::default()).await;
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}

#[tokio::test]
async fn a_version_from_the_future_is_refused_by_both_sides() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let mut future = memory.open("host:1").unwrap();
    future.write_all(b"CONCORD\0\x03\x00 and what nobody knows yet").await.unwrap();
    let mut answer = Vec::new();
    future.read_to_end(&mut answer).await.unwrap();
    assert_eq!(&answer[..10], b"CONCORD\0\x02\x00", "the answer says which version this node speaks");
    assert!(host.doorman.turned_away.lock().unwrap()[0].message().contains("version 3"));

    let mut listener = memory.listen("future:1").await.unwrap();
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[b"CONCORD\0\x03\x00".as_slice(), &[0; 32]].concat()).await.unwrap();
        stream
    };
    let (options, hello) = (options(memory, NetLimits::default()), peer(CLUSTER, 1));
    let client = Caller::connect(&options, "future:1", &hello, Expectation::default());
    let error = tokio::join!(client, server).0.err().unwrap();
    assert!(error.message().contains("version 3") && error.message().contains("upgrade"), "{error}");
}

#[tokio::test]
async fn the_secret_never_travels() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let caller = call_on(&host, &options(memory.clone(), NetLimits::default())).await;
    caller.call(ECHO, b"a request in plain text".to_vec()).await.unwrap();
    let seen = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    for bytes in [&memory.sent, &memory.received] {
        let bytes = bytes.lock().unwrap();
        assert!(seen(&bytes, b"a request in plain text"), "the test does overhear");
        assert!(!COOKIE.as_bytes().windows(8).any(|part| seen(&bytes, part)));
    }
}

/// A recorded handshake is worth nothing: the server's nonce is another one.
#[tokio::test]
async fn a_recorded_handshake_does_not_open_the_door_again() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    drop(call_on(&host, &options(memory.clone(), NetLimits::default())).await);
    let record = memory.sent.lock().unwrap().clone();
    let mut replay = memory.open("host:1").unwrap();
    replay.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    replay.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[42], 3, "wrong proof, and nothing about the node");
    assert_eq!(answer.len(), 42 + 3 + 32);
}

/// Somebody without the secret mirrors what the client sends.
#[tokio::test]
async fn a_mirror_is_no_node() {
    let memory = Memory::default();
    let mut listener = memory.listen("mirror:1").await.unwrap();
    let mirror = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut opening = [0; 42];
        stream.read_exact(&mut opening).await.unwrap();
        stream.write_all(&opening).await.unwrap();
        let mut rest = [0; 8 + 35 + 10];
        stream.read_exact(&mut rest).await.unwrap();
        let mut proof = [0; 32];
        stream.read_exact(&mut proof).await.unwrap();
        stream.write_all(&[&[1, 0, 0], proof.as_slice()].concat()).await.unwrap();
        stream
    };
    let (options, hello) = (options(memory, NetLimits::default()), peer(CLUSTER, 1));
    let client = Caller::connect(&options, "mirror:1", &hello, Expectation::default());
    let error = tokio::join!(client, mirror).0.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_left_after_three_seconds_on_either_side() {
    let memory = Memory::default();
    let _host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let begin = tokio::time::Instant::now();
    let mut silent = memory.open("host:1").unwrap();
    silent.write_all(b"CONCORD").await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(begin.elapsed().as_millis() / 100, 30);

    let _deaf = memory.listen("deaf:1").await.unwrap();
    let options = options(memory, NetLimits::default());
    let error = Caller::connect(&options, "deaf:1", &peer(CLUSTER, 1), Expectation::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ClusterNotReady);
    assert_eq!(begin.elapsed().as_millis() / 100, 60);
}

const TOKEN: u64 = 0x0123_4567_89ab_cdef;
const TOKEN_SECRET: [u8; 32] = *b"thirty-two bytes of the system's";

/// A client that says that it holds this token, and proves it with this secret.
async fn client_with_token(memory: &Memory, token: u64, secret: [u8; 32]) -> Result<Caller> {
    let credential = Credential::Token(TokenKey::new(token, secret));
    let hello = Hello { role: Role::Client, cluster_id: 0, node_id: 0, token, address: String::new() };
    let options = ConnectOptions { credential, ..options(memory.clone(), NetLimits::default()) };
    Caller::connect(&options, "host:1", &hello, Expectation::default()).await
}

async fn host_that_knows_a_token(memory: &Memory) -> Host {
    let hash = sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), TOKEN_SECRET));
    let doorman = Doorman { token: Some((TOKEN, hash.into())), ..Doorman::default() };
    Host::start_with(memory, "host:1", NetLimits::default(), None, doorman).await
}

#[tokio::test]
async fn whoever_holds_a_token_comes_in_and_its_secret_never_travels() {
    let memory = Memory::default();
    let host = host_that_knows_a_token(&memory).await;
    let caller = client_with_token(&memory, TOKEN, TOKEN_SECRET).await.unwrap();
    caller.call(ECHO, b"a request in plain text".to_vec()).await.unwrap();
    assert_eq!(*host.doorman.tried.lock().unwrap(), [true]);
    for bytes in [&memory.sent, &memory.received] {
        let bytes = bytes.lock().unwrap();
        assert!(!TOKEN_SECRET.windows(8).any(|part| bytes.windows(8).any(|seen| seen == part)));
    }
}

#[tokio::test]
async fn a_wrong_secret_an_unknown_token_and_a_stolen_hash_open_nothing() {
    let memory = Memory::default();
    let host = host_that_knows_a_token(&memory).await;
    let stolen = host.doorman.token.unwrap().1;
    for (token, secret) in [(TOKEN, [0; 32]), (TOKEN + 1, TOKEN_SECRET), (TOKEN, stolen)] {
        let refused = client_with_token(&memory, token, secret).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Unauthorized);
        assert!(refused.message().contains("token"), "{refused}");
    }
    while host.doorman.tried.lock().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*host.doorman.tried.lock().unwrap(), [false; 3]);
}

/// A peer is one of the cluster: a token is not enough for that.
#[tokio::test]
async fn a_peer_with_a_token_is_refused_before_anything_is_sent() {
    let memory = Memory::default();
    let _host = host_that_knows_a_token(&memory).await;
    let credential = Credential::Token(TokenKey::new(TOKEN, TOKEN_SECRET));
    let options = ConnectOptions { credential, ..options(memory.clone(), NetLimits::default()) };
    let hello = Hello { token: TOKEN, ..peer(CLUSTER, 1) };
    let refused = Caller::connect(&options, "host:1", &hello, Expectation::default()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    assert!(memory.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_know_the_token_is_not_believed() {
    let memory = Memory::default();
    let mut listener = memory.listen("host:1").await.unwrap();
    let impostor = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 42 + 8 + 35]).await.unwrap();
        stream.write_all(&[b"CONCORD\0\x02\x00".as_slice(), &[7; 32]].concat()).await.unwrap();
        stream.read_exact(&mut [0; 32]).await.unwrap();
        let mut hello = Vec::new();
        peer(CLUSTER, NODE).encode(&mut hello).unwrap();
        let length = (hello.len() as u16).to_le_bytes();
        stream.write_all(&[&[1], length.as_slice(), &hello, &[9; 32]].concat()).await.unwrap();
        stream
    };
    let connecting = client_with_token(&memory, TOKEN, TOKEN_SECRET);
    let refused = tokio::join!(connecting, impostor).0.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unauthorized);
}
