//! Network: gives each member a network namespace of its own, so that any direction between two can be cut silently.
//!
//! A cut is a wrong hardware address in the sender's neighbour table: frames leave and nobody takes them, as on a cable
//! that lost its other end. Only `ip` and root are needed.

use std::process::Command;

/// Namespaces on one bridge; the test itself is on the bridge too. Removed when dropped.
pub struct Network {
    tag: String,
    subnet: u8,
    nodes: usize,
}

const NOBODY: &str = "02:de:ad:00:00:00";

impl Network {
    /// The namespaces of so many members, or why there are none.
    pub fn build(nodes: usize) -> Result<Network, String> {
        // Some number that hardly another run on this machine has.
        let number = std::process::id() % 250;
        let network = Network { tag: format!("cc{number}"), subnet: number as u8, nodes };
        network.remove();
        let Network { tag, subnet, .. } = &network;
        ip(&format!("link add {tag}br type bridge"))?;
        ip(&format!("addr add 10.77.{subnet}.254/24 dev {tag}br"))?;
        ip(&format!("link set {tag}br up"))?;
        for node in 0..nodes {
            let (space, host) = (network.space(node), network.host(node));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {tag}v{node} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {tag}v{node} master {tag}br up"))?;
            ip(&format!("-n {space} addr add {host}/24 dev eth0"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(network)
    }

    /// Address of a member.
    pub fn host(&self, node: usize) -> String {
        format!("10.77.{}.{}", self.subnet, node + 1)
    }

    /// Makes a program run in the namespace of a member.
    pub fn command(&self, node: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(node), program]);
        command
    }

    /// From now on nothing of what one member sends reaches the other.
    pub fn cut(&self, from: usize, to: usize) {
        let (space, host) = (self.space(from), self.host(to));
        ip(&format!("-n {space} neigh replace {host} lladdr {NOBODY} dev eth0 nud permanent")).expect("a cut");
    }

    /// Cuts a member off all others, in both directions. Clients still reach it.
    pub fn isolate(&self, node: usize) {
        for other in (0..self.nodes).filter(|other| *other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// Undoes all cuts.
    pub fn heal(&self) {
        for (from, to) in (0..self.nodes).flat_map(|from| (0..self.nodes).map(move |to| (from, to))) {
            // There is nothing to remove where nothing was cut or sent.
            ip(&format!("-n {} neigh del {} dev eth0", self.space(from), self.host(to))).ok();
        }
    }

    fn space(&self, node: usize) -> String {
        format!("{}n{node}", self.tag)
    }

    fn remove(&self) {
        for node in 0..self.nodes {
            ip(&format!("netns del {}", self.space(node))).ok();
            ip(&format!("link del {}v{node}", self.tag)).ok();
        }
        ip(&format!("link del {}br", self.tag)).ok();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
