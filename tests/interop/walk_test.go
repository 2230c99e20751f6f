package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// wants runs every check and wants the one named to fail, or none.
func (s *synthetic) wants(t *testing.T, check string) {
	t.Helper()
	var out bytes.Buffer
	err := run(context.Background(), s.config, &out)
	switch {
	case check == "" && err != nil:
		t.Fatalf("%v\n%s", err, &out)
	case check != "" && err == nil:
		t.Errorf("nothing failed, %s should have:\n%s", check, &out)
	case check != "" && (!strings.HasPrefix(err.Error(), check+": ") || exitCode(err) != 1):
		t.Errorf("exit %d with %q, want 1 from %s", exitCode(err), err, check)
	case check != "":
		t.Log(err)
	}
}

func TestGood(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	s.wants(t, "")

	// With everything optional too.
	old := s.tree(oldSize)
	s.config.oldSize, s.config.oldRoot = old.N, old.Hash.String()
	const index = 77
	path, err := tlog.ProveRecord(testSize, index, s.reader())
	ok(t, err)
	leaf := tlog.RecordHash([]byte(s.records[index].entry))
	proof := torchwood.FormatProof(index, path, s.files["checkpoint"])
	bundle := map[string]any{"mediaType": "application/vnd.counterfoil.bundle.v1+json",
		"statement": []byte(s.records[index].statement), "entry": s.records[index].entry, "proof": string(proof)}
	s.config.proof, s.config.leaf = s.write("77.tlog-proof", proof), hex.EncodeToString(leaf[:])
	s.config.bundle = s.write("77.counterfoil.json", served(bundle))
	var out bytes.Buffer
	ok(t, run(context.Background(), s.config, &out))
	if n := strings.Count(out.String(), "ok: "); n != 11 {
		t.Errorf("%d checks, want 11:\n%s", n, &out)
	}
	t.Logf("\n%s", &out)

	// Statement erased: null.
	bundle["statement"] = nil
	s.config.bundle = s.write("null.counterfoil.json", served(bundle))
	s.wants(t, "")
	for _, bad := range []any{s.records[index+3].statement, "", 7} {
		if text, isText := bad.(string); isText {
			bad = []byte(text)
		}
		bundle["statement"] = bad
		s.config.bundle = s.write("bad.counterfoil.json", served(bundle))
		s.wants(t, "bundle file")
	}

	s.config.bundle, s.config.leaf = "", strings.Repeat("00", 32)
	s.wants(t, "proof file")
	s.config.proof, s.config.leaf = "", ""
	other := tlog.RecordHash([]byte("other"))
	s.config.oldRoot = other.String()
	s.wants(t, "consistency")
	s.config.oldSize = testSize + 1
	s.wants(t, "consistency")
}

// A wrong byte in anything that is served, at its ends and in its middle.
func TestOneByte(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	for path, check := range map[string]string{
		"tile/0/000": "tiles", "tile/0/001": "tiles", "tile/0/002.p/88": "tiles", "tile/1/000.p/2": "tiles",
		"tile/entries/000": "entries", "tile/entries/002.p/88": "entries",
		"statement/000": "statements", "statement/002.p/88": "statements",
	} {
		size := len(s.files[path])
		if size == 0 {
			t.Fatalf("%s is not served", path)
		}
		for _, at := range []int{0, 2, 3, size / 2, size - 1} {
			s.tamper = func(got string, body []byte) []byte {
				if got == path {
					body[at] ^= 1
				}
				return body
			}
			s.wants(t, check)
		}
		for _, cut := range []func([]byte) []byte{
			func(b []byte) []byte { return b[:len(b)-1] },
			func(b []byte) []byte { return append(b, 0) },
			func(b []byte) []byte { return append(b, 0, 0) },
			func([]byte) []byte { return []byte{} },
			func([]byte) []byte { return nil },
		} {
			s.tamper = func(got string, body []byte) []byte {
				if got == path {
					return cut(body)
				}
				return body
			}
			s.wants(t, check)
		}
	}
}

// An entry and its leaf hash forged together: each agrees with the other, and neither with the root.
func TestForgedTogether(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	for _, index := range []int{0, 300, testSize - 1} {
		bundle, tile := "tile/entries/000", "tile/0/000"
		if index == 300 {
			bundle, tile = "tile/entries/001", "tile/0/001"
		} else if index > 300 {
			bundle, tile = "tile/entries/002.p/88", "tile/0/002.p/88"
		}
		good := s.records[index].entry
		bad := strings.Replace(good, `"at":1`, `"at":2`, 1)
		from, to := tlog.RecordHash([]byte(good)), tlog.RecordHash([]byte(bad))
		s.tamper = func(path string, body []byte) []byte {
			switch path {
			case bundle:
				return bytes.Replace(body, []byte(good), []byte(bad), 1)
			case tile:
				return bytes.Replace(body, from[:], to[:], 1)
			}
			return body
		}
		s.wants(t, "tiles")
	}
}

// Three levels of tiles: 70,000 leaves, nothing but their hashes.
func TestTilesDeep(t *testing.T) {
	const size = 70_000
	s := &synthetic{t: t, files: make(map[string][]byte)}
	for i := range int64(size) {
		stored, err := tlog.StoredHashes(i, []byte{byte(i >> 16), byte(i >> 8), byte(i)}, s.reader())
		ok(t, err)
		s.hashes = append(s.hashes, stored...)
	}
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, size) {
		data, err := tlog.ReadTileData(tile, s.reader())
		ok(t, err)
		s.files[torchwood.TilePath(tile)] = data
	}
	server := httptest.NewServer(s)
	defer server.Close()
	check := func() error {
		w := walk{site: newSite(context.Background(), server.URL), tree: s.tree(size)}
		_, err := w.tiles()
		return err
	}
	ok(t, check())
	for _, path := range []string{"tile/0/000", "tile/0/255", "tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"} {
		last := len(s.files[path]) - 1
		s.files[path][last] ^= 1
		if err := check(); exitCode(err) != 1 {
			t.Errorf("%s changed: %v", path, err)
		}
		s.files[path][last] ^= 1
	}
}

func TestCheckpointByte(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	clockAt := bytes.LastIndex(s.files["checkpoint"], []byte("\u2014"))
	for at := range s.files["checkpoint"] {
		s.tamper = func(path string, body []byte) []byte {
			if path == "checkpoint" {
				body[at] ^= 1
			}
			return body
		}
		err := run(context.Background(), s.config, &bytes.Buffer{})
		if exitCode(err) != 1 {
			t.Errorf("byte %d: %v", at, err)
		} else if at < clockAt && !strings.HasPrefix(err.Error(), "checkpoint: ") {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// Logs whose tree and signatures are right, and whose records are not.
func TestBadRecords(t *testing.T) {
	replace := func(at int, from, to string) func(int, *record) {
		return func(i int, r *record) {
			if i != at {
				return
			}
			entry, statement := strings.Replace(r.entry, from, to, 1), strings.Replace(r.statement, from, to, 1)
			if entry == r.entry && statement == r.statement {
				t.Fatalf("%q is not in record %d", from, at)
			}
			r.entry = entry
		}
	}
	seen := make(map[int]record)
	// swap puts an earlier record's member into this one.
	swap := func(at int, from, to string, other int) func(int, *record) {
		return func(i int, r *record) {
			seen[i] = *r
			if i == at {
				r.entry = strings.Replace(r.entry, between(r.entry, from, to), between(seen[other].entry, from, to), 1)
			}
		}
	}
	for name, c := range map[string]struct {
		check string
		edit  func(int, *record)
	}{
		"space":           {"entries", replace(9, `"about":null`, `"about": null`)},
		"unknown kind":    {"entries", replace(9, `"receipt"`, `"refusal"`)},
		"at goes back":    {"entries", replace(300, `"at":1`, `"at":`)},
		"at after clock":  {"entries", replace(599, `"at":1`, `"at":2`)},
		"other number":    {"statements", replace(9, `"number":9`, `"number":10`)},
		"other stream":    {"statements", replace(9, `"stream":"0`, `"stream":"1`)},
		"other id":        {"statements", swap(9, `"id":"`, `","issuer"`, 6)},
		"other signature": {"statements", swap(9, `"sig":"`, `","stream"`, 6)},
		"other issuer":    {"statements", swap(9, `"issuer":"`, `","kind"`, 8)},
		"no such claim":   {"statements", replace(9, `"claim":null`, `"claim":"MCowBQYDK2VwAyEANRIrnPgDvcwUSzqAZzZmABEsiaWQJSR9IeCkK4QltDc="`)},
		"erasure of other": {"statements", func(i int, r *record) {
			if i == erasureAt {
				r.entry = strings.Replace(r.entry, between(r.entry, `"about":"`, `","at"`), strings.Repeat("00", 32), 1)
			}
		}},
		"erased, unnamed": {"statements", func(i int, r *record) {
			if i == 41 {
				r.statement = ""
			}
		}},
		"erasure erased": {"statements", func(i int, r *record) {
			if i == erasureAt {
				r.statement = ""
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			newSynthetic(t, 0, c.edit).wants(t, c.check)
		})
	}
}

func TestBadAnswers(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	member := func(path, name string, to any) func(string, []byte) []byte {
		return func(got string, body []byte) []byte {
			if got != path {
				return body
			}
			var m map[string]any
			ok(t, json.Unmarshal(body, &m))
			m[name] = to
			return served(m)
		}
	}
	zero := tlog.Hash{}
	for _, c := range []struct {
		path, name string
		to         any
	}{
		{"consistency", "from", 2}, {"consistency", "to", testSize - 1}, {"consistency", "hashes", []tlog.Hash{zero}},
		{"consistency", "hashes", nil}, {"consistency", "more", 1}, {"consistency", "from", "1"},
		{"inclusion", "index", 5}, {"inclusion", "size", testSize - 1}, {"inclusion", "hashes", []tlog.Hash{zero}},
		{"inclusion", "leaf", hex.EncodeToString(zero[:])}, {"inclusion", "root", hex.EncodeToString(zero[:])},
		{"inclusion", "root", zero.String()}, {"inclusion", "more", 1},
	} {
		s.tamper = member("v1/proofs/"+c.path, c.name, c.to)
		s.wants(t, c.path)
	}

	s.tamper = nil
	for path, set := range map[string][2]string{
		"checkpoint": {"Content-Type", "text/plain"}, "tile/0/000": {"Content-Type", "text/plain; charset=utf-8"},
		"tile/entries/000": {"Content-Type", ""}, "statement/000": {"Cache-Control", "max-age=60"}, "v1/proofs/inclusion": {"Content-Type", "text/html"},
	} {
		s.header = func(got string, h http.Header) {
			if got == path {
				h.Set(set[0], set[1])
			}
		}
		s.wants(t, "headers")
	}
}

func TestKeysPolicyClock(t *testing.T) {
	s, other := newSynthetic(t, 0, nil), newSynthetic(t, 0, nil)
	good := s.config
	s.config.logVkey = other.config.logVkey
	s.wants(t, "checkpoint")
	s.config = good
	s.config.clockVkey = other.config.clockVkey
	s.wants(t, "clock")
	s.config = good
	s.config.policy = other.config.policy
	s.wants(t, "policy")
	for text, check := range map[string]string{
		string(policyText(good.logVkey, good.clockVkey, "clock")):         "",
		string(policyText(good.logVkey, other.config.clockVkey, "clock")): "policy",
		"log " + good.logVkey + "\n":                                      "policy",
		"witness clock " + good.clockVkey + "\nquorum clock\n":            "policy",
	} {
		s.config.policy = s.write("policy", []byte(text))
		s.wants(t, check)
	}

	slow := newSynthetic(t, 11*time.Minute, nil)
	slow.wants(t, "clock")
	slow.config.skew = 12 * time.Minute
	slow.wants(t, "")
}

func TestExitTwo(t *testing.T) {
	s := newSynthetic(t, 0, nil)
	for name, change := range map[string]func(*config){
		"no server":  func(c *config) { c.url = "http://127.0.0.1:1" },
		"no policy":  func(c *config) { c.policy = os.DevNull + "/none" },
		"bad vkey":   func(c *config) { c.logVkey = "x" },
		"clock vkey": func(c *config) { c.clockVkey = c.logVkey },
		"no proof":   func(c *config) { c.proof, c.leaf = "none", strings.Repeat("00", 32) },
		"bad leaf":   func(c *config) { c.proof, c.leaf = c.policy, "zz" },
		"bad root":   func(c *config) { c.oldSize, c.oldRoot = 1, "zz" },
	} {
		c := s.config
		change(&c)
		if err := run(context.Background(), c, &bytes.Buffer{}); exitCode(err) != 2 {
			t.Errorf("%s: exit %d, %v", name, exitCode(err), err)
		}
	}
	for _, c := range []config{{}, {url: "u", policy: "p", logVkey: "l", clockVkey: "c", oldSize: 1}, {url: "u", policy: "p", logVkey: "l", clockVkey: "c", proof: "p"}} {
		if exitCode(c.validate(0)) != 2 {
			t.Errorf("%+v was taken", c)
		}
	}
}
