//! Where a log's files are read from: over HTTP, or from a directory that holds a copy of them.

mod dir;
mod http;

pub use dir::DirSource;
pub(crate) use http::back_off;
pub use http::{Api, Connection, Reply, bearer};

use std::{fmt, io, path::PathBuf};

use bytes::Bytes;
use counterfoil_merkle::{
    bundle::{BUNDLE_BYTES_MAX, BUNDLE_ITEM_BYTES_MAX, BundleError, parse_bundle},
    hash::Hash,
    note::NOTE_BYTES_MAX,
    tile::{TileKind, TilePath},
};

/// One of the files of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `checkpoint`
    Checkpoint,
    /// `<origin hash>/checkpoint`: the newest that a witness cosigned of the log whose origin has this SHA-256, in lower-case
    /// hex (C2SP tlog-witness).
    Cosigned(Hash),
    /// A hash tile, an entry bundle or a statement bundle.
    Tile(TilePath),
}

impl Resource {
    /// The most bytes it can have.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Checkpoint | Self::Cosigned(_) => NOTE_BYTES_MAX,
            Self::Tile(path) => {
                let item = match path.kind {
                    TileKind::Hashes(_) => Hash::BYTES,
                    TileKind::Entries | TileKind::Statements => 2 + BUNDLE_ITEM_BYTES_MAX,
                };
                usize::try_from(path.width).map_or(BUNDLE_BYTES_MAX, |width| width.saturating_mul(item))
            }
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Cosigned(origin) => write!(f, "{origin}/checkpoint"),
            Self::Tile(path) => path.fmt(f),
        }
    }
}

impl From<TilePath> for Resource {
    fn from(path: TilePath) -> Self {
        Self::Tile(path)
    }
}

/// A place that holds a log's files. Nothing that comes from it is trusted.
#[derive(Clone, Debug)]
pub enum Source {
    /// A server.
    Http(Api),
    /// A directory with the same paths: a log's own store, or a mirror.
    Dir(DirSource),
}

impl Source {
    /// The source that a URL or the path of a directory names.
    pub fn open(location: &str, connection: &Connection) -> Result<Self, SourceError> {
        if location.starts_with("http://") || location.starts_with("https://") {
            return Api::new(location, connection).map(Self::Http);
        }
        let path = location.strip_prefix("file://").unwrap_or(location);
        Ok(Self::Dir(DirSource::new(PathBuf::from(path))))
    }

    /// The server's other interfaces, if this is a server.
    pub const fn api(&self) -> Option<&Api> {
        match self {
            Self::Http(api) => Some(api),
            Self::Dir(_) => None,
        }
    }

    /// Reads a file; `None` if there is none.
    pub async fn fetch(&self, resource: Resource) -> Result<Option<Bytes>, SourceError> {
        match self {
            Self::Http(api) => api.fetch(resource).await,
            Self::Dir(dir) => dir.fetch(resource),
        }
    }

    /// Reads a tile or bundle; where a partial one is gone, the first part of the full one instead.
    pub async fn fetch_tile(&self, path: TilePath) -> Result<Option<Bytes>, SourceError> {
        let found = self.fetch(path.into()).await?;
        if found.is_some() || path.is_full() {
            return Ok(found);
        }
        let Some(full) = self.fetch(path.to_full().into()).await? else { return Ok(None) };
        prefix(&full, path).map(Some)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(api) => api.fmt(f),
            Self::Dir(dir) => dir.fmt(f),
        }
    }
}

/// The first `path.width` slots of a full tile or bundle.
fn prefix(full: &Bytes, path: TilePath) -> Result<Bytes, SourceError> {
    let width = usize::try_from(path.width).unwrap_or(usize::MAX);
    let length = match path.kind {
        TileKind::Hashes(_) => width.saturating_mul(Hash::BYTES),
        TileKind::Entries | TileKind::Statements => {
            let items = parse_bundle(full).map_err(|reason| SourceError::Bundle { path, reason })?;
            items.iter().take(width).map(|item| 2 + item.len()).sum()
        }
    };
    if length > full.len() {
        return Err(SourceError::Short { path, got: full.len() });
    }
    Ok(full.slice(..length))
}

/// Why a source did not give what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The address cannot be used.
    #[error("not an address that can be read from: {location}")]
    Address {
        /// The address.
        location: String,
    },
    /// A token would be sent in the clear.
    #[error("a token is sent over https, or to this machine; not to {location}")]
    Token {
        /// The address.
        location: String,
    },
    /// The client for it could not be made.
    #[error("cannot make a connection")]
    Connection(#[source] reqwest::Error),
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust are not PEM")]
    Certificates(#[source] reqwest::Error),
    /// No answer, or half of one.
    #[error("no answer from {address}")]
    Transport {
        /// What was asked for.
        address: String,
        /// Why there was none.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is neither the file nor that there is none.
    #[error("{address} answers {status}")]
    Status {
        /// What was asked for.
        address: String,
        /// The HTTP status.
        status: u16,
    },
    /// More than the file can have.
    #[error("{address} has more than {bytes_max} bytes")]
    TooLarge {
        /// What was asked for.
        address: String,
        /// The most it can have.
        bytes_max: usize,
    },
    /// The directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A full tile is shorter than the partial one that was asked for.
    #[error("the full form of {path} has {got} bytes only")]
    Short {
        /// What was asked for.
        path: TilePath,
        /// Length of the full one.
        got: usize,
    },
    /// A full bundle cannot be cut to the partial one that was asked for.
    #[error("the full form of {path}: {reason}")]
    Bundle {
        /// What was asked for.
        path: TilePath,
        /// What is wrong with it.
        reason: BundleError,
    },
}

impl SourceError {
    /// Whether asking again may help.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::Status { status: 429 | 500..=599, .. })
    }
}

#[cfg(test)]
mod tests {
    use counterfoil_merkle::bundle::format_bundle;

    use super::*;

    fn path(text: &str) -> TilePath {
        text.parse().unwrap()
    }

    /// A partial tile or bundle that is gone is the first part of the full one.
    #[tokio::test]
    async fn partial_tiles_fall_back_to_full_ones() {
        let store = tempfile::tempdir().unwrap();
        let source = Source::open(store.path().to_str().unwrap(), &Connection::default()).unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = store.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        assert_eq!(source.fetch_tile(path("tile/0/000.p/3")).await.unwrap(), None);

        let tile: Vec<u8> = (0..=255_u8).flat_map(|n| [n; 32]).collect();
        write("tile/0/000", &tile);
        assert_eq!(source.fetch_tile(path("tile/0/000.p/3")).await.unwrap().unwrap(), &tile[..96]);
        assert_eq!(source.fetch_tile(path("tile/0/000")).await.unwrap().unwrap(), &tile[..]);
        write("tile/0/000.p/3", b"its own");
        assert_eq!(source.fetch_tile(path("tile/0/000.p/3")).await.unwrap().unwrap(), &b"its own"[..]);

        let items: Vec<Vec<u8>> = (0..=255_u8).map(|n| vec![n; usize::from(n)]).collect();
        write("statement/x001/000", &format_bundle(items.iter().map(Vec::as_slice)));
        let cut = source.fetch_tile(path("statement/x001/000.p/7")).await.unwrap().unwrap();
        assert_eq!(cut, format_bundle(items[..7].iter().map(Vec::as_slice)));

        write("tile/1/000", &tile[..64]);
        let short = source.fetch_tile(path("tile/1/000.p/3")).await;
        assert!(matches!(short, Err(SourceError::Short { got: 64, .. })), "{short:?}");
    }

    /// No file is read beyond what its kind can have.
    #[tokio::test]
    async fn files_have_limits() {
        let store = tempfile::tempdir().unwrap();
        let source = Source::open(store.path().to_str().unwrap(), &Connection::default()).unwrap();
        std::fs::write(store.path().join("checkpoint"), vec![b'x'; NOTE_BYTES_MAX + 1]).unwrap();
        let refused = source.fetch(Resource::Checkpoint).await;
        assert!(
            matches!(refused, Err(SourceError::TooLarge { bytes_max: NOTE_BYTES_MAX, .. })),
            "{refused:?}"
        );
        std::fs::write(store.path().join("checkpoint"), vec![b'x'; NOTE_BYTES_MAX]).unwrap();
        assert!(source.fetch(Resource::Checkpoint).await.unwrap().is_some());
    }
}
