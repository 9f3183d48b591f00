//! Hostile: who does not know the secret costs little, and garbage ends a connection, never a node.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::connection::Connection;
use crate::net::frame::{Frame, FrameKind, Queue};
use crate::net::handshake::introduce;
use crate::net::wire::Wire;

/// A connection that has proved itself and now says what it likes.
async fn insider(memory: &Memory) -> BoxStream {
    let mut stream: BoxStream = Box::new(memory.open("host:1").unwrap());
    let (secret, hello) = (SharedSecret::new(COOKIE).unwrap(), peer(CLUSTER, 1));
    introduce(&mut stream, "host:1", &hello, &secret.into(), Expectation::default()).await.unwrap();
    stream
}

fn frame_bytes(frames: &[(u64, u16, &[u8])]) -> Vec<u8> {
    let mut queue = Queue::default();
    for (id, method, payload) in frames {
        queue.push(FrameKind::Request, *id, *method, payload.to_vec());
    }
    let mut bytes = Vec::new();
    let mut slices = [std::io::IoSlice::new(&[]); 64];
    let count = queue.slices(&mut slices);
    slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
    bytes
}

async fn read_frames(bytes: &[u8], frame_bytes_max: usize) -> (Vec<Frame>, io::Result<()>) {
    let (mut near, far) = tokio::io::duplex(bytes.len().max(1));
    near.write_all(bytes).await.unwrap();
    drop(near);
    let mut wire = Wire::new(Box::new(far), frame_bytes_max);
    let mut frames = Vec::new();
    loop {
        match std::future::poll_fn(|cx| wire.poll_frame(cx)).await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

#[tokio::test]
async fn garbage_ends_the_connection_and_no_other() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let good = call_on(&host, &options(memory.clone(), NetLimits::default())).await;
    let four_gib = [&u32::MAX.to_le_bytes(), [1; 11].as_slice()].concat();
    let too_short = [&10u32.to_le_bytes(), [1; 11].as_slice()].concat();
    let unknown_kind = [&11u32.to_le_bytes(), [9; 11].as_slice()].concat();
    let answer_to_nothing = [&11u32.to_le_bytes(), [2; 11].as_slice()].concat();
    for garbage in [four_gib, too_short, unknown_kind, answer_to_nothing] {
        let mut stream = insider(&memory).await;
        stream.write_all(&garbage).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "nothing but the end comes");
    }
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0; 100], vec![0xff; 100]] {
        let mut stranger = memory.open("host:1").unwrap();
        let _ = stranger.write_all(&bytes).await;
        let mut rest = Vec::new();
        stranger.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "a stranger learns nothing");
    }
    assert_eq!(good.call(ECHO, vec![1]).await.unwrap(), [1]);
}

#[tokio::test]
async fn what_is_claimed_is_not_allocated() {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let header = [&(80_000_000u32).to_le_bytes(), [1; 11].as_slice()].concat();
    near.write_all(&[header, vec![7; 1000]].concat()).await.unwrap();
    let mut wire = Wire::new(Box::new(far), 80 << 20);
    assert!(futures_util::poll!(std::future::poll_fn(|cx| wire.poll_frame(cx))).is_pending());
    assert!(wire.bytes_held() < 200_000, "{} bytes are held for 1,000 that came", wire.bytes_held());
    near.write_all(&vec![7; 500_000]).await.unwrap();
    assert!(futures_util::poll!(std::future::poll_fn(|cx| wire.poll_frame(cx))).is_pending());
    assert!(wire.bytes_held() < 1_200_000, "{} bytes are held for 501,000 that came", wire.bytes_held());
}

#[tokio::test]
async fn frames_arrive_whole_however_slowly_they_come() {
    let memory = Memory { pipe_bytes: Some(1), ..Memory::default() };
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let caller = call_on(&host, &options(memory, NetLimits::default())).await;
    let payload: Vec<u8> = (0..1000).map(|at| at as u8).collect();
    assert_eq!(caller.call(ECHO, payload.clone()).await.unwrap(), payload);
}

#[tokio::test]
async fn half_a_frame_is_an_error_wherever_it_is_cut() {
    let bytes = frame_bytes(&[(1, 2, b"first"), (2, 2, &[5; 30])]);
    let first = 15 + 5;
    for cut in 0..=bytes.len() {
        let (frames, end) = read_frames(&bytes[..cut], 1000).await;
        assert_eq!(frames.len(), usize::from(cut >= first) + usize::from(cut == bytes.len()), "cut at {cut}");
        assert_eq!(end.is_ok(), [0, first, bytes.len()].contains(&cut), "cut at {cut}");
    }
}

/// 2,000 strangers hold connections open and say nothing; a member comes in all the same.
#[tokio::test]
async fn idle_strangers_are_bounded_and_keep_nobody_out() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    let options = options(memory.clone(), NetLimits::default());
    let mut strangers: Vec<_> = (0..2_000).map(|_| memory.open("host:1").unwrap()).collect();
    let caller = call_on(&host, &options).await;
    assert_eq!(caller.call(ECHO, vec![1]).await.unwrap(), [1]);
    let mut open = 0;
    for stranger in &mut strangers {
        let mut byte = [0; 1];
        let read = tokio::task::unconstrained(stranger.read(&mut byte));
        open += usize::from(futures_util::poll!(std::pin::pin!(read)).is_pending());
    }
    assert!(open <= 256, "{open} strangers are still connected");
    assert!(open >= 200, "the youngest are not closed before their deadline");
}

/// The same with sockets of the operating system, as many as a process may open everywhere.
#[tokio::test]
async fn idle_strangers_on_real_sockets_keep_nobody_out() {
    let limits = NetLimits { handshakes_max: 32, ..NetLimits::default() };
    let host = Host::start(&TcpSockets, "127.0.0.1:0", limits).await;
    let mut strangers = Vec::new();
    for _ in 0..200 {
        strangers.push(TcpSockets.connect(&host.address).await.unwrap());
    }
    let caller = call_on(&host, &options(TcpSockets, limits)).await;
    assert_eq!(caller.call(ECHO, vec![1]).await.unwrap(), [1]);
    for stranger in strangers.iter_mut().take(160) {
        assert_eq!(stranger.read(&mut [0; 1]).await.unwrap(), 0, "the oldest are closed");
    }
}

#[test]
fn a_stranger_costs_about_a_kibibyte() {
    let (secret, own) = (SharedSecret::new(COOKIE).unwrap(), peer(CLUSTER, NODE));
    let gate = Doorman::default();
    let mut stream: BoxStream = Box::new(tokio::io::duplex(1).0);
    let handshake = crate::net::handshake::receive(&mut stream, &own, &secret, (&gate, "memory"), |_| Ok(()));
    let bytes = size_of_val(&handshake);
    assert!(bytes <= 1536, "{bytes} bytes");
}

#[tokio::test]
async fn a_thousand_mutations_of_valid_frames_never_panic() {
    let valid = frame_bytes(&[(1, 2, b"first"), (2, 2, &[5; 300]), (3, 1, b""), (4, 9, &[8; 70_000]), (5, 5, b"end")]);
    for seed in 0..1_000 {
        let mut dice = Dice(seed);
        let mut bytes = valid.clone();
        for _ in 0..1 + dice.roll(4) {
            let at = if dice.roll(2) == 0 { dice.roll(400) } else { dice.roll(bytes.len()) };
            match dice.roll(4) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => bytes.truncate(at.max(401)),
                2 => bytes.insert(at, dice.roll(256) as u8),
                _ => drop(bytes.remove(at)),
            }
        }
        let (frames, _) = read_frames(&bytes, 100_000).await;
        let total: usize = frames.iter().map(|frame| frame.payload.len() + 15).sum();
        assert!(total <= bytes.len(), "seed {seed}: more came out than went in");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_with_any_byte_changed_is_refused_and_the_node_lives() {
    let memory = Memory::default();
    let host = Host::start(&memory, "host:1", NetLimits::default()).await;
    // Opening, hello with its address, proof.
    let hello = peer(CLUSTER, 1);
    let handshake_bytes = 50 + 27 + 10 + 32;
    for at in 0..handshake_bytes {
        let disturbed = Memory { flip_at: Some(at), ..memory.clone() };
        let options = options(disturbed, NetLimits::default());
        // A changed length makes the server wait for more, until its deadline.
        let outcome = Caller::connect(&options, "host:1", &hello, Expectation::default()).await;
        assert!(outcome.is_err(), "byte {at}");
    }
    let caller = call_on(&host, &options(memory, NetLimits::default())).await;
    assert_eq!(caller.call(ECHO, vec![1]).await.unwrap(), [1]);
}

/// A flood of small requests on one connection leaves turns to everybody else.
#[tokio::test]
async fn a_flood_on_one_connection_leaves_turns_to_others() {
    let flood: Vec<(u64, u16, &[u8])> = (0..1000).map(|id| (id, ECHO, b"".as_slice())).collect();
    let (mut near, far) = tokio::io::duplex(100_000);
    near.write_all(&frame_bytes(&flood)).await.unwrap();
    let desk = Arc::new(Desk::new());
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let wire = Wire::new(Box::new(far), 1000);
    let serving = Connection::new(wire, peer(CLUSTER, 1), desk.clone(), NetLimits::default()).run(stopping);
    let mut serving = std::pin::pin!(serving);
    assert!(futures_util::poll!(serving.as_mut()).is_pending());
    let first_turn = desk.began.lock().unwrap().len();
    assert!((1..=256).contains(&first_turn), "{first_turn} requests were begun in one turn");
    let mut answers = vec![0; 15 * flood.len()];
    tokio::select! {
        () = serving => panic!("the connection is alive"),
        read = near.read_exact(&mut answers) => assert_eq!(read.unwrap(), 15_000),
    }
}
