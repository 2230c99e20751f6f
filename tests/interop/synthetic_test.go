package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	testOrigin = "log.test/interop"
	testSize   = 600
	oldSize    = 300
	erasedAt   = 40 // the entry whose statement is erased
	erasureAt  = 500
)

// record is an entry with its statement, before either is hashed into the tree.
type record struct{ entry, statement string }

// synthetic is a log of its own making, served over HTTP.
type synthetic struct {
	t         *testing.T
	logSigner note.Signer
	config    config
	records   []record
	hashes    []tlog.Hash
	files     map[string][]byte
	// tamper may change what is served; nil serves it as it is.
	tamper func(path string, body []byte) []byte
	header func(path string, h http.Header)
}

// clockSigner signs as the log's clock at a time of the test's choosing.
type clockSigner struct {
	name string
	key  ed25519.PrivateKey
	time uint64
}

func (c clockSigner) typed() []byte { return append([]byte{4}, c.key.Public().(ed25519.PublicKey)...) }
func (c clockSigner) Name() string  { return c.name }
func (c clockSigner) KeyHash() uint32 {
	h := sha256.Sum256(append([]byte(c.name+"\n"), c.typed()...))
	return binary.BigEndian.Uint32(h[:])
}
func (c clockSigner) Sign(text []byte) ([]byte, error) {
	sig := ed25519.Sign(c.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", c.time, text))
	return append(binary.BigEndian.AppendUint64(nil, c.time), sig...), nil
}

// newSynthetic builds a log of 600 entries. edit may change a record before it goes into the tree.
func newSynthetic(t *testing.T, lag time.Duration, edit func(i int, r *record)) *synthetic {
	t.Helper()
	s := &synthetic{t: t, files: make(map[string][]byte)}
	skey, vkey, err := note.GenerateKey(rand.Reader, testOrigin)
	ok(t, err)
	s.logSigner, err = note.NewSigner(skey)
	ok(t, err)
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	ok(t, err)
	clock := clockSigner{testOrigin + "/clock", priv, uint64(time.Now().Add(-lag).Unix())}
	clockVkey := fmt.Sprintf("%s+%08x+%s", clock.name, clock.KeyHash(), base64.StdEncoding.EncodeToString(clock.typed()))

	s.makeRecords(int64(clock.time)*1000, edit)
	for i, r := range s.records {
		stored, err := tlog.StoredHashes(int64(i), []byte(r.entry), s.reader())
		ok(t, err)
		s.hashes = append(s.hashes, stored...)
	}
	for _, size := range []int64{oldSize, testSize} {
		for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, size) {
			data, err := tlog.ReadTileData(tile, s.reader())
			ok(t, err)
			s.files[torchwood.TilePath(tile)] = data
		}
	}
	s.makeBundles()
	tree := s.tree(testSize)
	text := torchwood.Checkpoint{Origin: testOrigin, Tree: tree}.String()
	s.files["checkpoint"], err = note.Sign(&note.Note{Text: text}, s.logSigner, clock)
	ok(t, err)

	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.config = config{url: server.URL, logVkey: vkey, clockVkey: clockVkey, skew: 10 * time.Minute}
	s.config.policy = s.write("policy", policyText(vkey, clockVkey, "none"))
	return s
}

func (s *synthetic) write(name string, data []byte) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	ok(s.t, os.WriteFile(path, data, 0o600))
	return path
}

func (s *synthetic) tree(n int64) tlog.Tree {
	s.t.Helper()
	h, err := tlog.TreeHash(n, s.reader())
	ok(s.t, err)
	return tlog.Tree{N: n, Hash: h}
}

func (s *synthetic) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, s.hashes[i])
		}
		return out, nil
	})
}

// makeRecords signs receipts with two issuers, Ed25519 and P-256, and one erasure record.
func (s *synthetic) makeRecords(end int64, edit func(i int, r *record)) {
	_, one, err := ed25519.GenerateKey(rand.Reader)
	ok(s.t, err)
	two, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(s.t, err)
	spki := func(pub any) string {
		der, err := x509.MarshalPKIXPublicKey(pub)
		ok(s.t, err)
		return base64.StdEncoding.EncodeToString(der)
	}
	for i := range testSize {
		issuer := spki(one.Public())
		if i%3 == 2 {
			issuer = spki(two.Public())
		}
		about, claim, kind, number, stream := "null", "null", "receipt", strconv.Itoa(i), fmt.Sprintf(`"%032x"`, i%3)
		predicate, subject := `"stream":`+stream+`,"number":`+number+`,"previous":null,`, `{"name":"request","digest":{"counterfoilCommitment":"00"}}`
		switch {
		case i == erasureAt:
			leaf := tlog.RecordHash([]byte(s.records[erasedAt].entry))
			about, kind, number, stream, predicate = fmt.Sprintf(`"%x"`, leaf[:]), "erasure", "null", "null", ""
			subject = `{"name":"record","digest":{"counterfoilLeaf":` + about + `}}`
		case i%2 == 0:
			claim = `"` + spki(one.Public()) + `"`
			predicate += `"claim":` + claim + `,`
		}
		predicateType := strings.Replace(kind, "receipt", "inference-receipt", 1)
		r := record{statement: fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[%s],"predicateType":"https://counterfoil.dev/%s/v1","predicate":{%s"nonce":"%032x","log":"%s","issuer":{"key":"%s"}}}`,
			subject, predicateType, predicate, i, testOrigin, issuer)}
		encoded := pae([]byte(r.statement))
		digest := sha256.Sum256(encoded)
		sig := ed25519.Sign(one, encoded)
		if i%3 == 2 {
			sig, err = ecdsa.SignASN1(rand.Reader, two, digest[:])
			ok(s.t, err)
		}
		r.entry = fmt.Sprintf(`{"about":%s,"at":%d,"claim":%s,"id":"%x","issuer":"%s","kind":"%s","number":%s,"sig":"%s","stream":%s}`,
			about, end-testSize+int64(i), claim, digest, issuer, kind, number, base64.StdEncoding.EncodeToString(sig), stream)
		if i == erasedAt {
			r.statement = ""
		}
		if edit != nil {
			edit(i, &r)
		}
		s.records = append(s.records, r)
	}
}

func (s *synthetic) makeBundles() {
	for lo := 0; lo < testSize; lo += 256 {
		var entries, statements []byte
		hi := min(lo+256, testSize)
		for _, r := range s.records[lo:hi] {
			entries, statements = slot(entries, r.entry), slot(statements, r.statement)
		}
		path := fmt.Sprintf("%03d", lo/256)
		if hi-lo < 256 {
			path += fmt.Sprintf(".p/%d", hi-lo)
		}
		s.files["tile/entries/"+path], s.files["statement/"+path] = entries, statements
	}
}

func (s *synthetic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	body, found := s.files[path]
	w.Header().Set("Content-Type", "application/octet-stream")
	switch {
	case path == "checkpoint":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case strings.HasPrefix(path, "statement/"):
		w.Header().Set("Cache-Control", "no-store")
	case strings.HasPrefix(path, "v1/proofs/"):
		w.Header().Set("Content-Type", "application/json")
		body, found = s.proof(strings.TrimPrefix(path, "v1/proofs/"), r)
	}
	if !found {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	if s.tamper != nil {
		body = s.tamper(path, append([]byte(nil), body...))
	}
	if s.header != nil {
		s.header(path, w.Header())
	}
	if body == nil {
		http.Error(w, "gone", http.StatusNotFound)
		return
	}
	w.Write(body)
}

func (s *synthetic) proof(kind string, r *http.Request) ([]byte, bool) {
	number := func(name string, absent int64) int64 {
		n, err := strconv.ParseInt(r.FormValue(name), 10, 64)
		if err != nil {
			return absent
		}
		return n
	}
	if kind == "consistency" {
		from, to := number("from", 0), number("to", 0)
		if from < 1 || from > to || to > testSize {
			return nil, false
		}
		p, err := tlog.ProveTree(to, from, s.reader())
		ok(s.t, err)
		return served(map[string]any{"from": from, "to": to, "hashes": p}), true
	}
	index, size := number("index", -1), number("size", testSize)
	if index < 0 || index >= size || size > testSize {
		return nil, false
	}
	p, err := tlog.ProveRecord(size, index, s.reader())
	ok(s.t, err)
	root := s.tree(size).Hash
	leaf := tlog.RecordHash([]byte(s.records[index].entry))
	return served(map[string]any{"index": index, "leaf": hex.EncodeToString(leaf[:]), "size": size,
		"root": hex.EncodeToString(root[:]), "hashes": p}), true
}

func served(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body
}
