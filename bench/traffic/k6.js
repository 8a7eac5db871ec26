// What k6 runs: the same GET without any pause.
import http from "k6/http";
export default function () {
  http.get(__ENV.URL);
}
