//! Connections that a configuration asks for, held to public addresses: a name, or whoever answers for it in the DNS, must
//! not turn a program against the machine and the network that it runs in.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Certificate, Client, ClientBuilder, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};

/// A network: an address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is in it. An IPv4 address in IPv6 clothes is taken for what it is.
    pub fn has(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?} is no address, nor a network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| error())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(error()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What may be connected to: public addresses, and what else is allowed by name.
#[derive(Clone, Debug, Default)]
pub struct Reachable {
    allowed: Arc<[Network]>,
}

impl Reachable {
    /// Public addresses, and these networks.
    pub fn new(allowed: &[Network]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// What the address is, if that is why it may not.
    pub fn check(&self, address: IpAddr) -> Result<(), Unreachable> {
        match special(address.to_canonical()) {
            Some(what) if !self.allowed.iter().any(|network| network.has(address)) => {
                Err(Unreachable { address, what })
            }
            _ => Ok(()),
        }
    }
}

/// Names are resolved once for each connection, which then goes to the addresses that were checked here and to no others.
impl Resolve for Reachable {
    fn resolve(&self, name: Name) -> Resolving {
        let reachable = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One bad address spoils them all: an honest name has none.
            found.iter().try_for_each(|address| reachable.check(address.ip()))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// An address that is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, and is not allowed")]
pub struct Unreachable {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub what: &'static str,
}

/// What an address is, if it is not a public one. After the IANA special-purpose address registries.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    const TABLE: &[([u8; 4], u8, &str)] = &[
        ([0, 0, 0, 0], 8, "this host"),
        ([10, 0, 0, 0], 8, "private"),
        ([100, 64, 0, 0], 10, "shared by a carrier"),
        ([127, 0, 0, 0], 8, "loopback"),
        ([169, 254, 0, 0], 16, "link-local"),
        ([172, 16, 0, 0], 12, "private"),
        ([192, 0, 0, 0], 24, "reserved"),
        ([192, 0, 2, 0], 24, "for documentation"),
        ([192, 88, 99, 0], 24, "a relay"),
        ([192, 168, 0, 0], 16, "private"),
        ([198, 18, 0, 0], 15, "for benchmarks"),
        ([198, 51, 100, 0], 24, "for documentation"),
        ([203, 0, 113, 0], 24, "for documentation"),
        ([224, 0, 0, 0], 4, "multicast"),
        ([240, 0, 0, 0], 4, "reserved"),
    ];
    let within = |(network, bits, _): &&([u8; 4], u8, &str)| {
        Network { address: Ipv4Addr::from(*network).into(), bits: *bits }.has(address.into())
    };
    TABLE.iter().find(within).map(|(_, _, what)| *what)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    const TABLE: &[([u16; 3], u8, &str)] = &[
        // Teredo, ORCHID and whatever else is assigned there: none is a host that serves.
        ([0x2001, 0, 0], 23, "reserved"),
        ([0x2001, 0xdb8, 0], 32, "for documentation"),
        ([0x2002, 0, 0], 16, "a relay to an IPv4 address"),
        ([0x3fff, 0, 0], 20, "for documentation"),
    ];
    // What is public lies in 2000::/3, all of it.
    if address.segments()[0] & 0xe000 != 0x2000 {
        return Some(match address {
            Ipv6Addr::LOCALHOST => "loopback",
            Ipv6Addr::UNSPECIFIED => "this host",
            address if address.is_multicast() => "multicast",
            address if address.is_unique_local() => "private",
            address if address.is_unicast_link_local() => "link-local",
            _ => "not public",
        });
    }
    let within = |([a, b, c], bits, _): &&([u16; 3], u8, &str)| {
        let network = Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0);
        Network { address: network.into(), bits: *bits }.has(address.into())
    };
    TABLE.iter().find(within).map(|(_, _, what)| *what)
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    /// Which addresses it may connect to.
    pub reachable: Reachable,
    /// Whether it may do without TLS.
    pub http: bool,
    /// PEM of the certificates to trust, in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// How long one exchange may take.
    pub timeout: Duration,
}

impl Guarded {
    /// A client that connects to addresses that it may, follows no redirect, and asks no proxy.
    ///
    /// # Errors
    /// What keeps the address from being used.
    pub fn client(&self, url: &Url) -> Result<Client, String> {
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            "http" => return Err("needs https, unless allow_http says otherwise".to_owned()),
            scheme => return Err(format!("{scheme} is not https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has a user's name or password in it".to_owned());
        }
        // A name is checked when it is resolved; an address is not resolved.
        let host = url.host_str().ok_or("names no host")?.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            self.reachable.check(address).map_err(|error| format!("{error} by allow_addresses"))?;
        }
        let builder = || {
            Client::builder()
                .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .no_proxy()
                .timeout(self.timeout)
                .dns_resolver(self.reachable.clone())
        };
        let built = trusting(builder, url.scheme(), self.authorities.as_deref());
        built.map_err(|error| chain(&error))
    }
}

/// A client that trusts these certificates, or else the system's, or, where there are none, those that browsers trust.
pub fn trusting(
    builder: impl Fn() -> ClientBuilder,
    scheme: &str,
    authorities: Option<&[u8]>,
) -> reqwest::Result<Client> {
    match authorities {
        // Without roots, which nothing there needs; looking for the system's fails where there are none.
        _ if scheme == "http" => builder().tls_certs_only([]).build(),
        Some(pem) => builder().tls_certs_only(Certificate::from_pem_bundle(pem)?).build(),
        None => builder().build().or_else(|_| {
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
            let roots = roots.iter().filter_map(|der| Certificate::from_der(der).ok());
            builder().tls_certs_only(roots).build()
        }),
    }
}

/// An error with its causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "
        0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.0.3 169.254.169.254
        172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.7
        203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
        :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1
        100::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 4000::1";

    const REACHED: &str = "
        1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.0.0.1 128.0.0.1 169.253.0.1 172.15.0.1
        172.32.0.1 192.167.0.1 192.169.0.1 198.17.0.1 198.20.0.1 223.255.255.255
        2606:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 ::ffff:1.1.1.1";

    /// No address of this machine, of its network or of no host at all is connected to, however it is written.
    #[test]
    fn only_public_addresses_are_reachable() {
        let reachable = Reachable::default();
        let check = |address: &str| reachable.check(address.parse().unwrap());
        for address in REFUSED.split_whitespace() {
            assert!(check(address).is_err(), "{address}");
        }
        for address in REACHED.split_whitespace() {
            assert_eq!(check(address), Ok(()), "{address}");
        }
    }

    /// What is allowed is just that.
    #[test]
    fn what_is_allowed_is_reachable() {
        let networks = ["127.0.0.1", "10.1.0.0/16", "fd00::/8"].map(|network| network.parse().unwrap());
        let reachable = Reachable::new(&networks);
        for (address, allowed) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::ffff:127.0.0.1", true),
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("::1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(reachable.check(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
        for bad in ["", "10", "10.0.0.0/33", "::/129", "localhost", "10.0.0.0/x", "10.0.0.0/"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().has("10.0.0.1".parse().unwrap()));
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    /// A name counts as what it resolves to.
    #[tokio::test]
    async fn names_are_held_to_their_addresses() {
        let resolve = async |reachable: Reachable| {
            reachable
                .resolve("localhost".parse().unwrap())
                .await
                .map(Iterator::count)
                .map_err(|error| error.to_string())
        };
        let refused = resolve(Reachable::default()).await.unwrap_err();
        assert!(refused.contains("loopback"), "{refused}");
        let networks = ["127.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
        assert!(resolve(Reachable::new(&networks)).await.unwrap() > 0);
    }
}
