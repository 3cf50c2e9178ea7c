//! What the kernel says of an interface's XDP features, by generic netlink family `netdev` (since Linux 6.3).

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;

const CONTROL_FAMILY: u16 = 16;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;

const NETDEV_GET: u8 = 1;
const NETDEV_IFINDEX: u16 = 1;
const NETDEV_XDP_FEATURES: u16 = 3;

/// `NETDEV_XDP_ACT_BASIC`: programs that drop, pass, transmit.
const BASIC: u64 = 1;
/// `NETDEV_XDP_ACT_REDIRECT`: programs that redirect.
const REDIRECT: u64 = 2;
/// `NETDEV_XDP_ACT_NDO_XMIT`: frames redirected here are sent.
const TRANSMIT: u64 = 4;

/// What an interface can do for XDP at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpFeatures {
    /// Runs programs in the driver that pass, drop, transmit and redirect.
    pub native: bool,
    /// Sends what is redirected to it. On a veth: the other end takes it in.
    pub target: bool,
}

/// Asks for the XDP features of an interface; `None` when this kernel does not tell.
pub fn xdp_features(ifindex: u32) -> io::Result<Option<XdpFeatures>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let name = attribute(CONTROL_FAMILY_NAME, b"netdev\0");
    let family = match ask(&socket, CONTROL_FAMILY, CONTROL_GET_FAMILY, &name) {
        Ok(answer) => find(&answer, CONTROL_FAMILY_ID).and_then(|value| value.try_into().ok()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(family) = family.map(u16::from_ne_bytes) else { return Ok(None) };
    let answer = ask(&socket, family, NETDEV_GET, &attribute(NETDEV_IFINDEX, &ifindex.to_ne_bytes()))?;
    let bits =
        find(&answer, NETDEV_XDP_FEATURES).and_then(|value| value.try_into().ok()).map(u64::from_ne_bytes);
    Ok(bits.map(|bits| XdpFeatures {
        native: bits & (BASIC | REDIRECT) == BASIC | REDIRECT,
        target: bits & TRANSMIT != 0,
    }))
}

/// Sends one request; gives the attributes of the answer.
fn ask(socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let length = (HEADER + GENERIC_HEADER + attributes.len()) as u32;
    let mut request = Vec::with_capacity(length as usize);
    request.extend(length.to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port.
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    request.extend(attributes);
    socket.send(&request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let kind: [u8; 2] = field(&answer, 4)?;
    if u16::from_ne_bytes(kind) == NLMSG_ERROR {
        let code = i32::from_ne_bytes(field(&answer, HEADER)?);
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(answer.get(HEADER + GENERIC_HEADER..).unwrap_or_default().to_vec())
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes
        .get(at..at + N)
        .and_then(|field| field.try_into().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "a short answer of the kernel"))
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of a kind.
fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let found = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_padded_ones() {
        let mut bytes = attribute(1, b"netdev\0");
        bytes.extend(attribute(3, &7_u64.to_ne_bytes()));
        assert_eq!(find(&bytes, 1), Some(b"netdev\0".as_slice()));
        assert_eq!(find(&bytes, 3), Some(7_u64.to_ne_bytes().as_slice()));
        assert_eq!(find(&bytes, 2), None);
        assert_eq!(find(&[0, 0, 0, 0], 2), None);
    }

    #[test]
    fn the_loopback_interface_runs_no_native_program() {
        // Kernels before 6.3 say nothing.
        assert!(xdp_features(1).unwrap().is_none_or(|features| !features.native));
    }
}
