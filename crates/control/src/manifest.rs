//! Manifests: which files a server has, and which bytes are in them. `ebbtide manifest` writes them,
//! a node reads those of its servers. The format is told in docs/replicas.md.

use ebbtide_core::{Digest, Identity, ManifestCopies, Modified};
use hyper::Uri;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The version of the format that is written, and the newest that is read.
pub const MANIFEST_VERSION: u32 = 1;
/// The longest manifest that is read, in bytes: some sixty thousand files.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of its format.
    #[serde(rename = "ebbtide_manifest")]
    pub version: u32,
    /// When the reading of the files began, as [`Modified`] writes it; only for who writes it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// The files, by ascending name.
    pub files: Vec<ManifestFile>,
}

/// A file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Its path within the directory, with `/` between the parts.
    pub name: String,
    /// Its length, in bytes.
    pub size: u64,
    /// When it was last modified, as [`Modified`] writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The BLAKE3-256 digest of its bytes, as 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// Its version, where something else than `ebbtide manifest` knows of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When its inode last changed, as [`Modified`] writes it; only for who writes it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// The number of its inode; only for who writes it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
}

impl Manifest {
    /// Reads a manifest; an error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Head {
            ebbtide_manifest: u32,
        }
        let wrong = |error: serde_json::Error| format!("is not a manifest: {error}");
        let head: Head = serde_json::from_slice(bytes).map_err(wrong)?;
        if head.ebbtide_manifest != MANIFEST_VERSION {
            return Err(format!(
                "is a manifest of version {}, and only {MANIFEST_VERSION} is understood: write it \
                 with an `ebbtide` of this version",
                head.ebbtide_manifest
            ));
        }
        serde_json::from_slice(bytes).map_err(wrong)
    }

    /// What it says of these files, by the resources' names: pairs of a resource and its file.
    pub fn copies(&self, wanted: &[(String, String)]) -> Result<ManifestCopies, String> {
        let mut files = BTreeMap::new();
        for file in &self.files {
            if files.insert(file.name.as_str(), file).is_some() {
                return Err(format!("names {:?} twice", file.name));
            }
        }
        let copy = |(resource, name): &(String, String)| {
            let file = files.get(name.as_str());
            let identity = file.map(|file| file.identity()).transpose();
            Ok((resource.clone(), identity?))
        };
        wanted.iter().map(copy).collect()
    }
}

impl ManifestFile {
    fn identity(&self) -> Result<Identity, String> {
        let wrong = |what: &str| format!("says of {:?} what is no {what}", self.name);
        let digest = self.blake3.as_deref().map(Digest::parse);
        let modified = self.modified.as_deref().map(Modified::parse);
        Ok(Identity {
            size: self.size,
            digest: match digest {
                Some(None) => return Err(wrong("digest")),
                digest => digest.flatten(),
            },
            version: self.version.as_deref().map(Into::into),
            modified: match modified {
                Some(None) => return Err(wrong("time of modification")),
                modified => modified.flatten(),
            },
        })
    }
}

/// Where a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestSource {
    /// In this file.
    File(PathBuf),
    /// On a web server.
    Http {
        /// Without the brackets of an IPv6 address.
        host: String,
        /// Its port.
        port: u16,
        /// Host and port as they are written.
        authority: String,
        /// Path and query.
        target: String,
    },
}

impl ManifestSource {
    /// Reads an `http://` address or the path of a file, with nothing left to be replaced; an error
    /// goes on after the manifest's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['{', '}']) {
            return Err("has something in braces other than `{host}` and `{server}`");
        }
        if text.starts_with("https://") {
            return Err("would be fetched over https, which comes with a later version");
        }
        if !text.starts_with("http://") {
            return match text.contains("://") {
                true => Err("is neither an http:// address nor the path of a file"),
                false => Ok(Self::File(text.into())),
            };
        }
        let uri: Uri = text.parse().map_err(|_| "is not an address")?;
        let authority = uri.authority().ok_or("names no host")?;
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() || authority.as_str().contains('@') {
            return Err("names no host, or a user");
        }
        // The crate passes over what is no number of a port.
        let written = &authority.as_str()[authority.host().len()..];
        let port = match written.strip_prefix(':').map(str::parse::<u16>) {
            None => 80,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err("has a port that is none: it goes from 1 to 65535"),
        };
        Ok(Self::Http {
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            target: uri
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(files: &[&str]) -> Vec<(String, String)> {
        let pair = |file: &&str| (format!("the {file}"), (*file).to_owned());
        files.iter().map(pair).collect()
    }

    fn read(files: &str) -> Result<ManifestCopies, String> {
        let text = format!("{{\"ebbtide_manifest\":1,\"new\":true,\"files\":[{files}]}}");
        Manifest::parse(text.as_bytes())?.copies(&wanted(&["a", "b"]))
    }

    #[test]
    fn copies_are_found_by_the_names_of_their_files() {
        let digest = "ab".repeat(32);
        let copies = read(&format!(
            "{{\"name\":\"a\",\"size\":5,\"modified\":\"7.5\",\"blake3\":\"{digest}\",\"later\":1}},\
             {{\"name\":\"other\",\"size\":0}}"
        ));
        let copies = copies.unwrap();
        let copy = copies["the a"].as_ref().unwrap();
        assert_eq!((copy.size, &copy.version), (5, &None));
        assert_eq!(copy.digest, Some(Digest([0xab; 32])));
        assert_eq!(copy.modified, Modified::parse("7.5"));
        assert_eq!(copies["the b"], None);
    }

    #[test]
    fn what_is_no_manifest_is_told() {
        for (files, expected) in [
            (
                "{\"name\":\"a\",\"size\":-5}",
                "is not a manifest: invalid value",
            ),
            (
                "{\"name\":\"a\",\"size\":5,\"blake3\":\"ab\"}",
                "says of \"a\" what is no digest",
            ),
            (
                "{\"name\":\"a\",\"size\":5,\"modified\":\"now\"}",
                "no time of modification",
            ),
            (
                "{\"name\":\"c\",\"size\":5},{\"name\":\"c\",\"size\":5}",
                "names \"c\" twice",
            ),
        ] {
            let error = read(files).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let later = Manifest::parse(b"{\"ebbtide_manifest\":2}").unwrap_err();
        assert!(later.contains("version 2"), "{later}");
        let error = Manifest::parse(b"<html>").unwrap_err();
        assert!(error.contains("is not a manifest"), "{error}");
    }

    #[test]
    fn places_are_files_and_http_addresses() {
        let file = ManifestSource::parse("/srv/a.json").unwrap();
        assert_eq!(file, ManifestSource::File("/srv/a.json".into()));
        let http = ManifestSource::parse("http://[::1]:8099/m?x=1").unwrap();
        assert_eq!(
            http,
            ManifestSource::Http {
                host: "::1".into(),
                port: 8099,
                authority: "[::1]:8099".into(),
                target: "/m?x=1".into(),
            }
        );
        for wrong in [
            "https://a/",
            "ftp://a/",
            "http://",
            "http://a:0/",
            "http://a:x/",
            "http://u@a/",
            "/srv/{name}",
        ] {
            assert!(ManifestSource::parse(wrong).is_err(), "{wrong}");
        }
    }
}
