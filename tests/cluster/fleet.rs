//! Fleet: the members of one cluster, their directories and addresses, and how clients reach them.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use concord_kv::{ClientConfig, Concord, TlsConfig};

use crate::network::Network;
use crate::process::Process;

pub const COOKIE: &str = "the secret of the fleet";
const PROGRAM: &str = env!("CARGO_BIN_EXE_concord");
/// Longest wait for a member to start, to be ready or to stop; far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Stories take turns: each has the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

/// Members of one cluster. What they said is printed when the story fails.
pub struct Fleet {
    members: Vec<Member>,
    /// How many found the cluster.
    founders: usize,
    tls: Option<TlsConfig>,
    pub network: Option<Network>,
    dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

struct Member {
    address: String,
    process: Option<Process>,
    node_id: u64,
    /// What its earlier processes said.
    log: String,
}

impl Member {
    fn at(address: String) -> Member {
        Member { address, process: None, node_id: 0, log: String::new() }
    }
}

impl Fleet {
    /// Starts so many members on loopback and waits until each is ready.
    pub fn form(count: usize) -> Fleet {
        Fleet::form_in(count, None, None)
    }

    /// The same in the namespaces of a network, or with certificates.
    pub fn form_in(count: usize, network: Option<Network>, tls: Option<TlsConfig>) -> Fleet {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses = match &network {
            Some(network) => (0..count).map(|node| format!("{}:7400", network.host(node))).collect(),
            None => free_addresses(count),
        };
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the fleet");
        let members = addresses.into_iter().map(Member::at).collect();
        let mut fleet = Fleet { members, founders: count, tls, network, dir, _turn: turn };
        std::fs::write(fleet.cookie_file(), COOKIE).expect("the cookie file");
        std::fs::set_permissions(fleet.cookie_file(), std::fs::Permissions::from_mode(0o600)).expect("its mode");
        fleet.all().for_each(|node| fleet.start(node));
        fleet.all().for_each(|node| fleet.wait_ready(node));
        fleet
    }

    /// The numbers of all members.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.members.len()
    }

    /// The numbers of all others.
    pub fn others(&self, node: usize) -> Vec<usize> {
        self.all().filter(|other| *other != node).collect()
    }

    /// One more that may join; it does not run yet.
    pub fn add_member(&mut self) -> usize {
        self.members.extend(free_addresses(1).into_iter().map(Member::at));
        self.members.len() - 1
    }

    /// Starts a member that does not run and waits until it listens.
    pub fn start(&mut self, node: usize) {
        self.start_with(node, &[]);
    }

    /// The same with more options.
    pub fn start_with(&mut self, node: usize, options: &[&str]) {
        let mut command = match &self.network {
            Some(network) => network.command(node, PROGRAM),
            None => Command::new(PROGRAM),
        };
        let count = self.founders.to_string();
        command.args(["serve", "--json", "--listen", &self.members[node].address, "--bootstrap-expect", &count]);
        // Small enough that a run of seconds passes through many snapshots.
        command.args(["--snapshot-log-bytes", "1048576"]);
        command.arg("--data-dir").arg(self.data_dir(node));
        command.arg("--cookie-file").arg(self.cookie_file()).args(options);
        if let Some(tls) = &self.tls {
            command.arg("--tls-certificate").arg(&tls.certificate);
            command.arg("--tls-private-key").arg(&tls.private_key);
            command.arg("--tls-authority").arg(&tls.authority);
        }
        for other in self.others(node) {
            command.args(["--seed", &self.members[other].address]);
        }
        let process = Process::start(command);
        let listening =
            process.wait_for("listening", PATIENCE).unwrap_or_else(|fault| panic!("member {node}: {fault}"));
        let member = &mut self.members[node];
        member.node_id = listening["node"].as_u64().expect("a node id");
        member.process = Some(process);
    }

    /// Waits until a running member is ready.
    pub fn wait_ready(&self, node: usize) {
        self.process(node).wait_for("ready", PATIENCE).unwrap_or_else(|fault| panic!("member {node}: {fault}"));
    }

    /// Kills a member with -9.
    pub fn kill(&mut self, node: usize) {
        let mut process = self.take(node);
        process.kill();
    }

    /// Takes everything away that a member had stored.
    pub fn wipe(&self, node: usize) {
        std::fs::remove_dir_all(self.data_dir(node)).expect("its directory");
    }

    /// A member that does not run is to listen elsewhere.
    pub fn move_away(&mut self, node: usize) {
        self.members[node].address = free_addresses(1).remove(0);
    }

    /// Waits until a member ends by itself; gives whether it was content, and what it said.
    pub fn wait_end(&mut self, node: usize) -> (bool, String) {
        let status = self.members[node].process.as_mut().expect("it runs").wait(PATIENCE);
        let process = self.take(node);
        (status.unwrap_or_else(|fault| panic!("member {node}: {fault}")).success(), process.log())
    }

    /// Stops a member gracefully and waits until it has.
    pub fn stop(&mut self, node: usize) {
        let status = self.members[node].process.as_mut().expect("it runs").stop(PATIENCE);
        self.take(node);
        assert!(status.as_ref().is_ok_and(|status| status.success()), "member {node} did not stop well: {status:?}");
    }

    /// Freezes a member.
    pub fn pause(&self, node: usize) {
        self.process(node).signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self, node: usize) {
        self.process(node).signal("CONT");
    }

    /// A client that starts from these members.
    pub fn connect(&self, nodes: impl IntoIterator<Item = usize>) -> Concord {
        Concord::connect(self.client_config(nodes)).unwrap_or_else(|error| panic!("no client: {error}"))
    }

    /// How such a client reaches them.
    pub fn client_config(&self, nodes: impl IntoIterator<Item = usize>) -> ClientConfig {
        let addresses: Vec<&str> = nodes.into_iter().map(|node| self.members[node].address.as_str()).collect();
        ClientConfig { tls: self.tls.clone(), ..ClientConfig::new(&addresses.join(","), COOKIE) }
    }

    /// The running member that leads: of what these say, the latest term counts. An old leader believes for a while that
    /// it still is one.
    pub fn leader(&self, among: &[usize]) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let clients: Vec<_> = among.iter().map(|node| self.connect([*node])).collect();
        loop {
            // Each client may ask any member, in its turn.
            let status = clients.iter().map(|client| client.status().map(|status| status.raft));
            let status = status.filter_map(Result::ok).max_by_key(|raft| (raft.term, raft.leader.is_some()));
            let leader = status.as_ref().and_then(|raft| raft.leader);
            let node = leader.and_then(|leader| self.members.iter().position(|member| member.node_id == leader));
            if let Some(node) = node.filter(|node| among.contains(node)) {
                return node;
            }
            assert!(Instant::now() < deadline, "no leader among {among:?}; the last answer was {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its identity, as the member told.
    pub fn node_id(&self, node: usize) -> u64 {
        self.members[node].node_id
    }

    /// Where it listens.
    pub fn address(&self, node: usize) -> &str {
        &self.members[node].address
    }

    /// Number of its process.
    pub fn process_id(&self, node: usize) -> u32 {
        self.process(node).id()
    }

    /// A directory for whatever else a story needs.
    pub fn spare_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data_dir(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("member{node}"))
    }

    fn process(&self, node: usize) -> &Process {
        self.members[node].process.as_ref().unwrap_or_else(|| panic!("member {node} does not run"))
    }

    fn take(&mut self, node: usize) -> Process {
        let member = &mut self.members[node];
        let process = member.process.take().unwrap_or_else(|| panic!("member {node} does not run"));
        member.log += &format!("{}\n", process.log());
        process
    }

    fn cookie_file(&self) -> PathBuf {
        self.dir.path().join("cookie")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (node, member) in self.members.iter().enumerate() {
                let last = member.process.as_ref().map(Process::log).unwrap_or_default();
                eprintln!("---- member {node}, {} ----\n{}{last}", member.address, member.log);
            }
        }
        // They go before the namespaces that they live in.
        self.members.clear();
    }
}

/// Ports that nobody has now. Members name each other, so that they must be known before one starts.
fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address").to_string()).collect()
}
