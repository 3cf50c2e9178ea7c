//! The hidden service: a real nginx with TLS, and a UDP and TCP answer that tells a client how the service sees it.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::{Background, output_of};
use crate::topology::Namespace;
use crate::waiting::wait_until;

/// The name clients ask for.
pub const NAME: &str = "tt.example";
pub const HTTPS_PORT: u16 = 443;
/// Answers over TCP and UDP with the client's address and port as the service sees them.
pub const WHO_AM_I_PORT: u16 = 8888;
/// Pages are named for their size.
pub const PAGE_SIZES: [usize; 6] = [1, 1000, 10_000, 1_000_000, 10_000_000, 100_000_000];

const START_PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx. Dropping it stops it.
#[derive(Debug)]
pub struct WebService {
    nginx: Background,
    directory: PathBuf,
}

impl WebService {
    /// Starts nginx at `address`; its files go below `directory`.
    pub fn start(service: &Namespace, address: Ipv4Addr, directory: &Path) -> Result<Self> {
        let directory = directory.join("web");
        let pages = directory.join("pages");
        std::fs::create_dir_all(&pages).with_context(|| format!("create {}", pages.display()))?;
        make_certificate(&directory)?;
        for size in PAGE_SIZES {
            write_page(&pages.join(size.to_string()), size)?;
        }
        std::fs::write(pages.join("index.html"), "<!doctype html><title>tt</title><p>the hidden service\n")
            .context("write the first page")?;
        let configuration = directory.join("nginx.conf");
        std::fs::write(&configuration, configuration_text(address, &directory))
            .with_context(|| format!("write {}", configuration.display()))?;
        let mut command = service.command("nginx");
        command.arg("-p").arg(&directory).arg("-c").arg(&configuration).args(["-g", "daemon off;"]);
        let mut nginx = Background::start(&mut command, &directory.join("nginx.log"))?;
        wait_until("nginx to listen", START_PATIENCE, || {
            nginx.must_run()?;
            let listens = |port| TcpStream::connect(SocketAddrV4::new(address, port)).is_ok();
            service.enter(|| Ok(listens(HTTPS_PORT) && listens(WHO_AM_I_PORT)))
        })?;
        // The probes above are nobody's requests.
        std::fs::write(directory.join("access.log"), "").context("empty the access log")?;
        Ok(Self { nginx, directory })
    }

    /// The certificate that clients must trust.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// The file behind a page.
    pub fn page(&self, name: &str) -> PathBuf {
        self.directory.join("pages").join(name)
    }

    /// One line a request: `address:port "request" status bytes`.
    pub fn access_log(&self) -> Result<Vec<String>> {
        let path = self.directory.join("access.log");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The process, for one that stays when this value is gone.
    pub fn into_process(self) -> Background {
        self.nginx
    }
}

fn make_certificate(directory: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "2", "-subj", "/CN=tt.example", "-addext", "subjectAltName=DNS:tt.example"]);
    command.arg("-keyout").arg(directory.join("key.pem"));
    command.arg("-out").arg(directory.join("certificate.pem"));
    output_of(&mut command)?;
    Ok(())
}

/// A page of `size` bytes without repetition that compression or luck could hide.
fn write_page(path: &Path, size: usize) -> Result<()> {
    const BLOCK: usize = 1 << 16;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK.min(size.next_multiple_of(8)) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    let mut page = Vec::with_capacity(size + BLOCK);
    while page.len() < size {
        // Every block starts with its own number.
        let number = (page.len() as u64).to_le_bytes();
        let shared = block.len().min(number.len());
        block[..shared].copy_from_slice(&number[..shared]);
        page.extend_from_slice(&block);
    }
    page.truncate(size);
    std::fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

fn configuration_text(address: Ipv4Addr, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        r#"user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {{ worker_connections 1024; }}
http {{
    log_format seen '$remote_addr:$remote_port "$request" $status $body_bytes_sent';
    access_log {directory}/access.log seen;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    server {{
        listen {address}:{HTTPS_PORT} ssl backlog=1024;
        server_name {NAME};
        ssl_certificate {directory}/certificate.pem;
        ssl_certificate_key {directory}/key.pem;
        root {directory}/pages;
    }}
}}
stream {{
    server {{ listen {address}:{WHO_AM_I_PORT}; return "$remote_addr:$remote_port\n"; }}
    server {{ listen {address}:{WHO_AM_I_PORT} udp; return "$remote_addr:$remote_port"; }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_size_and_no_two_equal_blocks() {
        let directory = tempfile::tempdir().unwrap();
        for size in [1, 7, 1000, 1 << 18] {
            let path = directory.path().join(size.to_string());
            write_page(&path, size).unwrap();
            let page = std::fs::read(&path).unwrap();
            assert_eq!(page.len(), size);
            if size > 1 << 17 {
                assert_ne!(page[..1 << 16], page[1 << 16..1 << 17]);
            }
        }
    }
}
