package api

import (
	"regexp"
	"strings"
	"time"

	"github.com/dewpaas/dew/cf"
)

// base adds to fields what every resource shows.
func (c *call) base(m *cf.Meta, path string, fields obj) obj {
	fields["guid"] = m.GUID
	fields["created_at"] = m.CreatedAt.UTC().Format(time.RFC3339)
	fields["updated_at"] = m.UpdatedAt.UTC().Format(time.RFC3339)
	links, _ := fields["links"].(obj)
	if links == nil {
		links = obj{}
		fields["links"] = links
	}
	links["self"] = obj{"href": c.url + "/v3/" + path + "/" + m.GUID}
	return fields
}

// described is base for resources that carry labels.
func (c *call) described(m *cf.Meta, path string, fields obj) obj {
	labels, annotations := m.Labels, m.Annotations
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	fields["metadata"] = obj{"labels": labels, "annotations": annotations}
	return c.base(m, path, fields)
}

// metadata is a change to labels and annotations: null removes a key.
type metadata struct {
	Labels      map[string]*string `json:"labels" yaml:"labels"`
	Annotations map[string]*string `json:"annotations" yaml:"annotations"`
}

var (
	labelName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	labelPrefix = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

func goodKey(key string) bool {
	prefix, name, found := strings.Cut(key, "/")
	if !found {
		return labelName.MatchString(key)
	}
	return labelPrefix.MatchString(prefix) && labelName.MatchString(name)
}

const (
	maxLabels     = 50
	maxAnnotation = 5000
)

func (m metadata) apply(to *cf.Meta) error {
	for k, v := range m.Labels {
		if !goodKey(k) || strings.HasPrefix(k, "cloudfoundry.org/") {
			return unprocessable("Metadata label key error: '%s' contains invalid characters or a reserved prefix", k)
		}
		if v != nil && *v != "" && !labelName.MatchString(*v) {
			return unprocessable("Metadata label value error: '%s' contains invalid characters", *v)
		}
		to.Labels = change(to.Labels, k, v)
	}
	for k, v := range m.Annotations {
		if !goodKey(k) {
			return unprocessable("Metadata annotation key error: '%s' contains invalid characters", k)
		}
		if v != nil && len(*v) > maxAnnotation {
			return unprocessable("Metadata annotation value error: '%s' is greater than %d characters", k, maxAnnotation)
		}
		to.Annotations = change(to.Annotations, k, v)
	}
	if len(to.Labels) > maxLabels || len(to.Annotations) > maxLabels {
		return unprocessable("Metadata exceed maximum of %d", maxLabels)
	}
	return nil
}

func change(m map[string]string, key string, value *string) map[string]string {
	if value == nil {
		delete(m, key)
		return m
	}
	if m == nil {
		m = map[string]string{}
	}
	m[key] = *value
	return m
}

var setForm = regexp.MustCompile(`^(\S+)\s+(in|notin)\s+\(([^()]*)\)$`)

// ParseSelector reads a label selector: k, !k, k=v, k==v, k!=v, k in (a,b),
// k notin (a,b), joined by commas. It understands all of it or refuses it.
func ParseSelector(text string) ([]cf.LabelCond, error) {
	var conds []cf.LabelCond
	for _, part := range splitSelector(text) {
		cond, ok := parseRequirement(strings.TrimSpace(part))
		if !ok {
			return nil, badQuery("Invalid label_selector value")
		}
		conds = append(conds, cond)
	}
	return conds, nil
}

// splitSelector cuts at the commas outside of parentheses.
func splitSelector(text string) []string {
	var parts []string
	depth, start := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, text[start:])
}

func parseRequirement(s string) (cf.LabelCond, bool) {
	c := cf.LabelCond{Op: cf.LabelExists}
	if m := setForm.FindStringSubmatch(s); m != nil {
		c.Key, c.Op = m[1], cf.LabelIn
		if m[2] == "notin" {
			c.Op = cf.LabelNotIn
		}
		for _, v := range strings.Split(m[3], ",") {
			c.Values = append(c.Values, strings.TrimSpace(v))
		}
	} else if key, value, found := strings.Cut(s, "!="); found {
		c = cf.LabelCond{Key: strings.TrimSpace(key), Op: cf.LabelNotIn, Values: []string{strings.TrimSpace(value)}}
	} else if key, value, found := strings.Cut(s, "="); found {
		c = cf.LabelCond{Key: strings.TrimSpace(key), Op: cf.LabelIn, Values: []string{strings.TrimSpace(strings.TrimPrefix(value, "="))}}
	} else if strings.HasPrefix(s, "!") {
		c.Key, c.Op = strings.TrimSpace(s[1:]), cf.LabelAbsent
	} else {
		c.Key = s
	}
	for _, v := range c.Values {
		if v != "" && !labelName.MatchString(v) {
			return c, false
		}
	}
	return c, goodKey(c.Key)
}
