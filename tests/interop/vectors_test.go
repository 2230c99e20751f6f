package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type vectors struct {
	Commitments []struct{ Label, Key, Data, Commitment string }
	Records     []struct {
		Statement, Entry, Envelope string
		PAE                        string `json:"pae_sha256"`
		Leaf                       string `json:"leaf_hash"`
	}
	EntryBundle     string `json:"entry_bundle_0.p/3_sha256"`
	StatementBundle string `json:"statement_bundle_0.p/3_sha256"`
	LogVkey         string `json:"log_vkey"`
	ClockVkey       string `json:"clock_vkey"`
	Root            string `json:"root_3"`
	Checkpoint      string
	Proof           string `json:"tlog_proof_1"`
	Bundle          string `json:"bundle_1"`
	Commit          struct {
		Header, Digest string
		Length         int
	} `json:"commit_1"`
}

func readVectors(t *testing.T) (v vectors, key note.Verifier, clock *torchwood.CosignatureVerifier) {
	t.Helper()
	raw, err := os.ReadFile("../vectors/vectors.json")
	ok(t, err)
	ok(t, json.Unmarshal(raw, &v))
	key, err = note.NewVerifier(v.LogVkey)
	ok(t, err)
	clock, err = torchwood.NewCosignatureVerifier(v.ClockVkey)
	ok(t, err)
	if len(v.Records) != 3 || len(v.Commitments) != 3 {
		t.Fatalf("%d records, %d commitments", len(v.Records), len(v.Commitments))
	}
	return v, key, clock
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func slot(b []byte, item string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(item))), item...)
}

func policyText(logVkey, clockVkey, quorum string) []byte {
	return fmt.Appendf(nil, "log %s\nwitness clock %s\nquorum %s\n", logVkey, clockVkey, quorum)
}

func TestVectorRecords(t *testing.T) {
	v, key, _ := readVectors(t)
	var entries, statements []byte
	for i, r := range v.Records {
		e, err := parseEntry([]byte(r.Entry))
		ok(t, err)
		ok(t, e.checkStatement([]byte(r.Statement), key.Name()))
		same(t, "id", e.id, r.PAE)
		leaf := tlog.RecordHash([]byte(r.Entry))
		same(t, "leaf", hex.EncodeToString(leaf[:]), r.Leaf)
		same(t, "envelope", r.Envelope, fmt.Sprintf(`{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}`,
			base64.StdEncoding.EncodeToString([]byte(r.Statement)), payloadType, e.issuer, base64.StdEncoding.EncodeToString(e.sig)))
		entries, statements = slot(entries, r.Entry), slot(statements, r.Statement)

		// No byte of a statement or a signature can change.
		for at := range len(r.Statement) {
			changed := []byte(r.Statement)
			changed[at] ^= 1
			if e.checkStatement(changed, key.Name()) == nil {
				t.Fatalf("record %d: statement byte %d changed, and taken", i, at)
			}
		}
		for at := range e.sig {
			other := e
			other.sig = bytes.Clone(e.sig)
			other.sig[at] ^= 1
			if other.checkStatement([]byte(r.Statement), key.Name()) == nil {
				t.Fatalf("record %d: signature byte %d changed, and taken", i, at)
			}
		}
	}
	same(t, "entry bundle", sum(entries), v.EntryBundle)
	same(t, "statement bundle", sum(statements), v.StatementBundle)
}

func TestVectorCommitments(t *testing.T) {
	v, _, _ := readVectors(t)
	for _, c := range v.Commitments {
		key, err := hex.DecodeString(c.Key)
		ok(t, err)
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "counterfoil/v1/%s\x00%s", c.Label, c.Data)
		same(t, c.Label, hex.EncodeToString(mac.Sum(nil)), c.Commitment)
	}
}

func TestVectorCommit(t *testing.T) {
	v, _, _ := readVectors(t)
	record := []byte("counterfoil-commit/v1\n" + v.Commit.Header + "\n")
	for _, r := range v.Records[:2] {
		record = slot(slot(record, r.Entry), r.Statement)
	}
	same(t, "digest", sum(record), v.Commit.Digest)
	same(t, "length", len(record)+sha256.Size, v.Commit.Length)
}

func TestVectorCheckpoint(t *testing.T) {
	v, key, clock := readVectors(t)
	c, err := openCheckpoint([]byte(v.Checkpoint), key)
	ok(t, err)
	same(t, "size", c.N, 3)
	same(t, "root", hex.EncodeToString(c.Hash[:]), v.Root)
	var leaves []tlog.Hash
	for _, r := range v.Records {
		leaves = append(leaves, tlog.RecordHash([]byte(r.Entry)))
	}
	same(t, "root of leaves", rootOf(leaves), c.Hash)
	at, err := clockTime([]byte(v.Checkpoint), key, clock)
	ok(t, err)
	same(t, "time", at, 1763712345)

	// No byte of the note can change without either check noticing.
	for i := range len(v.Checkpoint) {
		changed := []byte(v.Checkpoint)
		changed[i] ^= 1
		_, err := openCheckpoint(changed, key)
		if _, other := clockTime(changed, key, clock); err == nil && other == nil {
			t.Fatalf("byte %d changed, and taken", i)
		}
	}
}

func TestVectorProofs(t *testing.T) {
	v, key, _ := readVectors(t)
	leaf, err := hexHash(v.Records[1].Leaf)
	ok(t, err)
	for _, quorum := range []string{"none", "clock"} {
		policy, err := torchwood.ParsePolicy(policyText(v.LogVkey, v.ClockVkey, quorum))
		ok(t, err)
		index, tree, err := checkProof(policy, leaf, v.Proof)
		ok(t, err)
		same(t, "index", index, 1)
		same(t, "size", tree.N, 3)
		bundled, index, tree, err := checkBundle(policy, key.Name(), []byte(v.Bundle))
		ok(t, err)
		same(t, "bundle's leaf", bundled, leaf)
		same(t, "bundle's index", index, 1)
		same(t, "bundle's size", tree.N, 3)
		if _, _, _, err := checkBundle(policy, key.Name(), []byte(strings.Replace(v.Bundle, `"statement": "`, `"statement": null, "x": "`, 1))); err == nil {
			t.Error("a fifth member was taken")
		}
		for _, change := range []struct{ from, to string }{
			{"index 1", "index 0"}, {"index 1", "index +1"}, {"index 1", "index 01"}, {"index 1", "extra AAAA\nindex 1"},
			{"index 1\n", "index 1\n" + tlog.Hash{}.String() + "\n"}, {"\n3\n", "\n4\n"}, {"YA4y", "YA4z"}, {"WNE=", "WNF="},
		} {
			if !strings.Contains(v.Proof, change.from) {
				t.Fatalf("%q is not in the proof", change.from)
			}
			if _, _, err := checkProof(policy, leaf, strings.Replace(v.Proof, change.from, change.to, 1)); err == nil {
				t.Errorf("%q instead of %q was taken", change.to, change.from)
			}
		}
		if _, _, err := checkProof(policy, tlog.Hash{}, v.Proof); err == nil {
			t.Error("another leaf was taken")
		}
	}
}

func TestEntryForm(t *testing.T) {
	v, _, _ := readVectors(t)
	good := v.Records[0].Entry
	for _, change := range []struct{ from, to string }{
		{`{"about":null,"at":1763712345678,`, `{"at":1763712345678,"about":null,`},
		{`"about":null,`, ``},
		{`"about":null`, `"about": null`},
		{`"at":1763712345678`, `"at":01763712345678`},
		{`"at":1763712345678`, `"at":1763712345678.0`},
		{`"at":1763712345678`, `"at":-1`},
		{`"at":1763712345678`, `"at":null`},
		{`"kind":"receipt"`, `"kind":"promise"`},
		{`"kind":"receipt"`, `"kind":"receip\u0074"`},
		{`"number":0`, `"number":null`},
		{`"number":0`, `"number":"0"`},
		{`"about":null`, `"about":"` + v.Records[1].Leaf + `"`},
		{`"about":null`, `"about":"` + strings.ToUpper(v.Records[1].Leaf) + `"`},
		{`VDg==`, `VDh==`},
		{`VDg==`, `VDg=`},
		{`NwlLWKM=`, `NwlLWKN=`},
		{`MCowBQYDK2Vw`, `MCowBQYDK2Vu`},
		{`"}`, `","x":0}`},
		{`"}`, "\"}\n"},
	} {
		bad := strings.Replace(good, change.from, change.to, 1)
		if bad == good {
			t.Fatalf("%q is not in the entry", change.from)
		}
		if _, err := parseEntry([]byte(bad)); err == nil {
			t.Errorf("%q instead of %q was taken", change.to, change.from)
		}
	}
}
