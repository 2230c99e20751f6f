package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

const (
	payloadType  = "application/vnd.in-toto+json"
	maxStatement = 48000
)

// entry is a leaf. The members that may be null are kept as JSON tokens.
type entry struct {
	at                           int64
	id, issuer, kind             string
	sig                          []byte
	about, claim, number, stream string
}

const (
	b64Pattern = `[A-Za-z0-9+/]+={0,2}`
	intPattern = `(?:0|[1-9][0-9]{0,18})`
)

var entryForm = regexp.MustCompile(`\A\{"about":(null|"[0-9a-f]{64}"),"at":(` + intPattern + `),"claim":(null|"` + b64Pattern + `"),` +
	`"id":"([0-9a-f]{64})","issuer":"(` + b64Pattern + `)","kind":"([a-z]+)","number":(null|` + intPattern + `),` +
	`"sig":"(` + b64Pattern + `)","stream":(null|"[0-9a-f]{32}")\}\z`)

var kinds = []string{"receipt", "key", "revocation", "policy", "rules", "clock", "verdict", "dispute", "response",
	"resolution", "remedy", "correction", "erasure", "epoch", "void"}

var erasable = []string{"receipt", "dispute", "response", "verdict", "correction"}

func parseEntry(data []byte) (entry, error) {
	m := entryForm.FindSubmatch(data)
	if m == nil {
		return entry{}, fmt.Errorf("not canonical: %q", data)
	}
	at, err := strconv.ParseInt(string(m[2]), 10, 64)
	if err != nil {
		return entry{}, err
	}
	e := entry{about: string(m[1]), at: at, claim: string(m[3]), id: string(m[4]), issuer: string(m[5]), kind: string(m[6]),
		number: string(m[7]), stream: string(m[9])}
	if e.sig, err = decodeBase64(string(m[8])); err != nil {
		return entry{}, fmt.Errorf("sig: %w", err)
	}
	if _, err := parseKey(e.issuer); err != nil {
		return entry{}, fmt.Errorf("issuer: %w", err)
	}
	if e.claim != "null" {
		if _, err := parseKey(e.claim[1 : len(e.claim)-1]); err != nil {
			return entry{}, fmt.Errorf("claim: %w", err)
		}
	}
	numbered := e.number != "null"
	switch {
	case !slices.Contains(kinds, e.kind):
		return entry{}, fmt.Errorf("kind %q is not one that is logged", e.kind)
	case numbered != (e.stream != "null"):
		return entry{}, errors.New("stream and number must be null together")
	case (e.kind == "receipt" || e.kind == "void") && !numbered:
		return entry{}, fmt.Errorf("a %s without stream and number", e.kind)
	case e.kind == "receipt" && e.about != "null":
		return entry{}, errors.New("a receipt about another record")
	}
	return e, nil
}

// decodeBase64 takes the standard form only: Go's decoder would skip line breaks, even when strict.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil && base64.StdEncoding.EncodeToString(b) != s {
		err = errors.New("base64 is not canonical")
	}
	return b, err
}

// parseKey takes the base64 of a canonical SPKI: Ed25519, or P-256.
func parseKey(s string) (any, error) {
	der, err := decodeBase64(s)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	again, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || !bytes.Equal(der, again) {
		return nil, errors.New("SPKI is not canonical DER")
	}
	switch k := key.(type) {
	case ed25519.PublicKey:
		return k, nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return k, nil
		}
	}
	return nil, fmt.Errorf("key of type %T is neither Ed25519 nor P-256", key)
}

// pae is DSSE's pre-authentication encoding of a statement.
func pae(statement []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(statement)), statement...)
}

// checkStatement checks that the statement is what the entry says and its issuer signed.
func (e entry) checkStatement(statement []byte, origin string) error {
	if len(statement) > maxStatement {
		return fmt.Errorf("statement of %d bytes", len(statement))
	}
	encoded := pae(statement)
	digest := sha256.Sum256(encoded)
	if got := hex.EncodeToString(digest[:]); got != e.id {
		return fmt.Errorf("SHA-256 of the PAE is %s, the entry's id %s", got, e.id)
	}
	key, err := parseKey(e.issuer)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	valid := false
	switch k := key.(type) {
	case ed25519.PublicKey:
		valid = ed25519.Verify(k, encoded, e.sig)
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(k, digest[:], e.sig)
	}
	if !valid {
		return errors.New("the issuer's signature does not verify")
	}
	return e.checkMembers(statement, origin)
}

// checkMembers compares what the entry repeats of the statement.
func (e entry) checkMembers(statement []byte, origin string) error {
	top, err := members(statement)
	if err != nil {
		return err
	}
	predicate, err := members(top["predicate"])
	if err != nil {
		return fmt.Errorf("predicate: %w", err)
	}
	issuer, err := members(predicate["issuer"])
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	about, err := subjectLeaf(top["subject"])
	if err != nil {
		return err
	}
	name := e.kind
	if name == "receipt" {
		name = "inference-receipt"
	}
	quote := func(s string) string { return `"` + s + `"` }
	for _, m := range []struct{ name, statement, entry string }{
		{"_type", token(top["_type"]), quote("https://in-toto.io/Statement/v1")},
		{"predicateType", token(top["predicateType"]), quote("https://counterfoil.dev/" + name + "/v1")},
		{"log", token(predicate["log"]), quote(origin)},
		{"issuer.key", token(issuer["key"]), quote(e.issuer)},
		{"claim", token(predicate["claim"]), e.claim},
		{"stream", token(predicate["stream"]), e.stream},
		{"number", token(predicate["number"]), e.number},
		{"about", about, e.about},
	} {
		if m.statement != m.entry {
			return fmt.Errorf("%s: the statement says %s, not %s", m.name, m.statement, m.entry)
		}
	}
	return nil
}

// subjectLeaf is the leaf hash of the record that a statement is about, as a JSON token.
func subjectLeaf(raw json.RawMessage) (string, error) {
	var subjects []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &subjects); err != nil || len(subjects) == 0 {
		return "", fmt.Errorf("subject: %q", raw)
	}
	if token(subjects[0]["name"]) != `"record"` {
		return "null", nil
	}
	digest, err := members(subjects[0]["digest"])
	return token(digest["counterfoilLeaf"]), err
}

// members splits an object without folding the case of names, as decoding into a struct would.
func members(raw []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if !utf8.Valid(raw) {
		return nil, errors.New("not UTF-8")
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errors.New("null, not an object")
	}
	return m, nil
}

// exactly is members, with no other names than these and none missing.
func exactly(raw []byte, names ...string) (map[string]json.RawMessage, error) {
	m, err := members(raw)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if m[name] == nil {
			return nil, fmt.Errorf("%q is missing in %s", name, raw)
		}
	}
	if len(m) != len(names) {
		return nil, fmt.Errorf("members other than %q in %s", names, raw)
	}
	return m, nil
}

// token prints a JSON value in one way; absent is null.
func token(raw json.RawMessage) string {
	if raw == nil {
		return "null"
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return string(raw)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(out)
}
