//! Local: a Unix socket inside a data directory, for the programs of its owner on the same machine.
//!
//! There is no secret: only the owner of the directory can open the socket, and the kernel says who did. It lies in the
//! directory, which is private, gets its mode (0600) before it listens, and no link is followed to it or from it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::{BoxStream, Listener, Sockets};

/// Name of the socket in its data directory.
pub(crate) const LOCAL_SOCKET: &str = "concord.sock";

/// Longest path that every system takes as an address; a longer one is reached through its open directory.
const ADDRESS_BYTES_MAX: usize = 103;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens inside a data directory. Dropped, it removes the socket's file.
pub(crate) struct LocalListener {
    listener: UnixListener,
    file: SocketFile,
    user: u32,
}

/// A socket's file, removed when it is dropped, but not by a process that was forked meanwhile.
struct SocketFile {
    path: PathBuf,
    process: u32,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::process::id() == self.process {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl LocalListener {
    /// Starts to listen in this directory, on the runtime of the caller, who holds the directory's lock: so a socket that
    /// lies there is one that a killed process has left, and is replaced. Anything else under its name is refused.
    pub(crate) fn bind(dir: &Path) -> io::Result<LocalListener> {
        // The file is removed by this name, wherever the process works by then.
        let dir = std::path::absolute(dir)?;
        let path = dir.join(LOCAL_SOCKET);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => return Err(no_socket()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let held = File::open(&dir)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(address(&path, &held))?)?;
        let file = SocketFile { path, process: std::process::id() };
        // Nobody can connect before it listens, so what the umask left open for a moment lets nobody in.
        fs::set_permissions(&file.path, Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(net::UnixListener::from(socket))?;
        Ok(LocalListener { listener, file, user: rustix::process::geteuid().as_raw() })
    }

    /// Whether the one who has connected is the user who runs this process, or the superuser.
    fn trusts(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.user || peer.uid() == 0)
    }
}

impl Listener for LocalListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxStream, String)>> {
        Box::pin(async move {
            loop {
                let (stream, _) = self.listener.accept().await?;
                if self.trusts(&stream) {
                    return Ok((Box::new(stream) as BoxStream, self.local_address()));
                }
            }
        })
    }

    fn local_address(&self) -> String {
        self.file.path.display().to_string()
    }
}

/// Reaches whoever listens in one data directory, whatever address is asked for.
pub(crate) struct LocalSockets {
    dir: PathBuf,
}

impl LocalSockets {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> LocalSockets {
        LocalSockets { dir: dir.into() }
    }
}

impl Sockets for LocalSockets {
    fn connect<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let dir = std::path::absolute(&self.dir)?;
            let path = dir.join(LOCAL_SOCKET);
            let found = fs::symlink_metadata(&path)?;
            if !found.file_type().is_socket() {
                return Err(no_socket());
            }
            let user = rustix::process::geteuid();
            if !user.is_root() && found.uid() != user.as_raw() {
                let message = "it belongs to another user; run this as the user who runs the store";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            let held = File::open(&dir)?;
            Ok(Box::new(UnixStream::connect(address(&path, &held)).await?) as BoxStream)
        })
    }

    fn listen<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(LocalListener::bind(&self.dir)?) as Box<dyn Listener>) })
    }

    fn resolve<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Vec<String>>> {
        Box::pin(async move { Ok(vec![address.to_owned()]) })
    }
}

/// What the kernel takes for this path; `held` is its directory.
fn address(path: &Path, held: &File) -> PathBuf {
    match path.as_os_str().len() {
        ..=ADDRESS_BYTES_MAX => path.to_owned(),
        _ => Path::new("/proc/self/fd").join(held.as_raw_fd().to_string()).join(LOCAL_SOCKET),
    }
}

fn no_socket() -> io::Error {
    let message = format!("{LOCAL_SOCKET} is something else than a socket; links are not followed, remove it");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn talk(dir: &Path) -> io::Result<()> {
        let mut listener = LocalListener::bind(dir)?;
        let sockets = LocalSockets::new(dir);
        let mut here = sockets.connect("").await?;
        let (mut there, _) = listener.accept().await?;
        there.write_all(b"hello").await?;
        let mut heard = [0; 5];
        here.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"hello");
        let mode = fs::symlink_metadata(dir.join(LOCAL_SOCKET))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Ok(())
    }

    #[tokio::test]
    async fn it_is_private_short_lived_and_works_at_the_end_of_a_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&long).unwrap();
        for dir in [dir.path(), &long] {
            talk(dir).await.unwrap();
            assert!(!dir.join(LOCAL_SOCKET).exists(), "it goes with its listener");
        }
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCAL_SOCKET);
        drop(net::UnixListener::bind(&path).unwrap());
        let refused = LocalSockets::new(dir.path()).connect("").await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        talk(dir.path()).await.unwrap();

        let target = dir.path().join("precious");
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert_eq!(LocalListener::bind(dir.path()).err().unwrap().kind(), io::ErrorKind::InvalidInput);
        let refused = LocalSockets::new(dir.path()).connect("").await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
