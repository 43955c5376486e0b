// Package statusutil stands in for the Collector's internal package of this name in the build the tests use.
package statusutil

import (
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// GetRetryInfo finds the retry hint among a status's details, nil if there is none.
func GetRetryInfo(from *status.Status) *errdetails.RetryInfo {
	for _, detail := range from.Details() {
		if hint, ok := detail.(*errdetails.RetryInfo); ok {
			return hint
		}
	}
	return nil
}

// NewStatusFromMsgAndHTTPCode turns an HTTP answer into the gRPC status that OTLP says belongs to it.
func NewStatusFromMsgAndHTTPCode(message string, httpStatus int) *status.Status {
	code := codes.Unknown
	switch httpStatus {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusUnauthorized:
		code = codes.Unauthenticated
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusNotFound:
		code = codes.Unimplemented
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code = codes.Unavailable
	}
	return status.New(code, message)
}
