package http1

// Name tells apart the fields that a proxy must look at. All others are Other
// and pass as they are.
type Name uint8

// The fields a proxy looks at.
const (
	Other Name = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	HTTP2Settings
	Expect
	Cookie
	SetCookie
	Date
	Via
	Referer
	UserAgent
	MaxForwards
	XForwardedFor
	XForwardedProto
	XForwardedClientCert
	XRequestID
	XRequestStart
	XVcapRequestID
	XCfApplicationID
	XCfInstanceID
	XCfInstanceIndex
	XCfAppInstance
	XCfProcessInstance
	XCfRouterError
)

type spelling struct {
	lower string
	name  Name
}

// byLength holds the known names by their length, so that most fields cost
// one or two comparisons.
var byLength = [26][]spelling{
	2:  {{"te", TE}},
	3:  {{"via", Via}},
	4:  {{"host", Host}, {"date", Date}},
	6:  {{"cookie", Cookie}, {"expect", Expect}},
	7:  {{"referer", Referer}, {"upgrade", Upgrade}, {"trailer", Trailer}},
	10: {{"connection", Connection}, {"user-agent", UserAgent}, {"set-cookie", SetCookie}, {"keep-alive", KeepAlive}},
	12: {{"x-request-id", XRequestID}, {"max-forwards", MaxForwards}},
	14: {{"content-length", ContentLength}, {"http2-settings", HTTP2Settings}},
	15: {{"x-forwarded-for", XForwardedFor}, {"x-request-start", XRequestStart}, {"x-cf-instanceid", XCfInstanceID}},
	16: {{"proxy-connection", ProxyConnection}, {"x-cf-routererror", XCfRouterError}},
	17: {{"transfer-encoding", TransferEncoding}, {"x-forwarded-proto", XForwardedProto}, {"x-vcap-request-id", XVcapRequestID}, {"x-cf-app-instance", XCfAppInstance}},
	18: {{"proxy-authenticate", ProxyAuthenticate}, {"x-cf-instanceindex", XCfInstanceIndex}, {"x-cf-applicationid", XCfApplicationID}},
	19: {{"proxy-authorization", ProxyAuthorization}},
	21: {{"x-cf-process-instance", XCfProcessInstance}},
	23: {{"x-forwarded-client-cert", XForwardedClientCert}},
}

func nameOf(b []byte) Name {
	if len(b) >= len(byLength) {
		return Other
	}
	for _, s := range byLength[len(b)] {
		if EqualFold(b, s.lower) {
			return s.name
		}
	}
	return Other
}

// hopByHop are the fields of one connection, whether or not Connection names
// them: RFC 9110 section 7.6.1.
func hopByHop(n Name) bool {
	switch n {
	case Connection, KeepAlive, ProxyConnection, ProxyAuthenticate, ProxyAuthorization, TE, TransferEncoding, Upgrade, HTTP2Settings:
		return true
	}
	return false
}

// forbiddenTrailer are fields that must not arrive behind a body: RFC 9110 section 6.5.1.
func forbiddenTrailer(n Name) bool {
	switch n {
	case Other, Date, Via, XRequestID:
		return false
	}
	return true
}
