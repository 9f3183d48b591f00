//! Sockets: one for the group, shared by all nodes of a machine, and one of this node's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::options::{Announcement, Multicast};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{DATAGRAM_BYTES_MAX, DATAGRAMS_PER_S_MAX};

/// Reading is rationed in slices of this length.
const SLICE_MS: u64 = 100;

/// What one node listens and speaks with.
///
/// - nothing leaves the local network: the group's datagrams have a time to live of 1
/// - a node that advertises a loopback address is neither heard nor reached from outside, unless told otherwise
pub(super) struct Sockets {
    own: Arc<UdpSocket>,
    group_ear: Arc<UdpSocket>,
    group: SocketAddrV4,
    interfaces: Vec<Ipv4Addr>,
}

impl Sockets {
    /// Opens both; needs a Tokio runtime with IO. A network that is down is no error: it is tried again later.
    pub(super) fn open(multicast: &Multicast, me: &Announcement) -> Result<Sockets> {
        let group = SocketAddrV4::new(multicast.group, multicast.port);
        let is_local = multicast.interfaces.is_empty() && me.is_loopback();
        let interfaces = match &multicast.interfaces[..] {
            [] if is_local => vec![Ipv4Addr::LOCALHOST],
            [] => vec![Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST],
            given => given.to_vec(),
        };
        let group_ear = listen_to(group).map_err(|error| {
            let message = format!(
                "cannot listen on UDP port {} for gossip: {error}; free it, choose another `multicast.port` for all \
                 nodes, or switch multicast off",
                group.port()
            );
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        let own_ip = if is_local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let own = own_socket(own_ip).map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot open a UDP socket for gossip: {error}")).with_source(error)
        })?;
        let sockets = Sockets { own: Arc::new(own), group_ear: Arc::new(group_ear), group, interfaces };
        sockets.join_group();
        Ok(sockets)
    }

    /// The ears for what is sent to this node and to the group.
    pub(super) fn ears(&self) -> (Ear, Ear) {
        (Ear::new(self.own.clone()), Ear::new(self.group_ear.clone()))
    }

    /// Where this node, advertised like this, can be sent datagrams.
    pub(super) fn endpoint(&self, me: &Announcement) -> SocketAddrV4 {
        let port = self.own.local_addr().map_or(0, |address| address.port());
        let bound = self.own.local_addr().ok().and_then(|address| usable(address.ip()));
        let ip = bound.or_else(|| me.ip().and_then(usable)).or_else(|| self.route_source());
        SocketAddrV4::new(ip.unwrap_or(Ipv4Addr::LOCALHOST), port)
    }

    /// Joins on every interface. Done again and again: interfaces come up late and routes change; where the group
    /// was joined already, this changes nothing.
    pub(super) fn join_group(&self) {
        for interface in &self.interfaces {
            let _joined_or_down = self.group_ear.join_multicast_v4(*self.group.ip(), *interface);
        }
    }

    /// To everyone near this interface, one of [`Sockets::interfaces`]; whether the network took it.
    pub(super) async fn send_to_group(&self, datagram: &[u8], interface: Ipv4Addr) -> bool {
        let is_set = SockRef::from(&*self.own).set_multicast_if_v4(&interface).is_ok();
        is_set && self.own.send_to(datagram, self.group).await.is_ok()
    }

    /// Own addresses of the interfaces that gossip uses; unspecified for where the system routes the group to.
    pub(super) fn interfaces(&self) -> Vec<Ipv4Addr> {
        self.interfaces.clone()
    }

    /// To one node; whether the network took it.
    pub(super) async fn send(&self, datagram: &[u8], to: SocketAddr) -> bool {
        self.own.send_to(datagram, to).await.is_ok()
    }

    /// The address that datagrams to the group would come from, if there is a route.
    fn route_source(&self) -> Option<Ipv4Addr> {
        let probe = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        probe.connect(self.group).ok()?;
        probe.local_addr().ok().and_then(|address| usable(address.ip()))
    }
}

fn usable(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

fn listen_to(group: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Bound to the group's address, the socket hears nothing that is sent to this machine's own addresses.
    let ip = if cfg!(unix) { *group.ip() } else { Ipv4Addr::UNSPECIFIED };
    socket.bind(&SocketAddrV4::new(ip, group.port()).into())?;
    UdpSocket::from_std(socket.into())
}

fn own_socket(ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_ttl_v4(1)?;
    // Other nodes of this machine listen too.
    socket.set_multicast_loop_v4(true)?;
    socket.bind(&SocketAddrV4::new(ip, 0).into())?;
    UdpSocket::from_std(socket.into())
}

/// Reads one socket, and no more than so many datagrams a second: what a flood brings beyond that is never read,
/// and the kernel throws it away.
pub(super) struct Ear {
    socket: Arc<UdpSocket>,
    buffer: Box<[u8]>,
    slice_end: Instant,
    read_in_slice: u32,
}

impl Ear {
    fn new(socket: Arc<UdpSocket>) -> Ear {
        // One byte more than allowed shows that a datagram was too long.
        let buffer = vec![0; DATAGRAM_BYTES_MAX + 1].into_boxed_slice();
        Ear { socket, buffer, slice_end: Instant::now(), read_in_slice: 0 }
    }

    /// The next datagram and where it came from. Cancel-safe.
    pub(super) async fn hear(&mut self) -> (&[u8], SocketAddr) {
        let (length, source) = loop {
            self.wait_for_ration().await;
            let received = self.socket.recv_from(&mut self.buffer).await;
            self.read_in_slice += 1;
            // An error tells of an earlier send; rationed like the rest, a lasting one costs little.
            if let Ok(received) = received {
                break received;
            }
        };
        (&self.buffer[..length], source)
    }

    async fn wait_for_ration(&mut self) {
        const RATION: u32 = DATAGRAMS_PER_S_MAX * SLICE_MS as u32 / 1_000;
        if self.read_in_slice >= RATION {
            sleep_until(self.slice_end).await;
        }
        let now = Instant::now();
        if now >= self.slice_end {
            self.slice_end = now + Duration::from_millis(SLICE_MS);
            self.read_in_slice = 0;
        }
    }
}
