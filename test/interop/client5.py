"""Subscribes, publishes with properties and unsubscribes in MQTT 5, and prints what it was told."""
import json, sys, threading
import paho.mqtt
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

port, password, qos = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
report = {"done": True, "version": getattr(paho.mqtt, "__version__", "")}
steps = {name: threading.Event() for name in ("connect", "granted", "text", "unsubscribed")}
if hasattr(mqtt, "CallbackAPIVersion"):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho5", protocol=mqtt.MQTTv5)
else:
    client = mqtt.Client(client_id="paho5", protocol=mqtt.MQTTv5)
client.username_pw_set("ann", password)

def note(step, value):
    report[step] = value
    steps[step].set()

def codes(reasons):
    return [str(reason) for reason in (reasons if isinstance(reasons, list) else [reasons])]

def on_message(client, userdata, message):
    found = message.properties
    report.update(user=found.UserProperty, contentType=found.ContentType, expiry=found.MessageExpiryInterval,
                  correlation=found.CorrelationData.decode())
    note("text", message.payload.decode())

client.on_connect = lambda client, userdata, flags, reason, properties: note("connect", str(reason))
client.on_subscribe = lambda client, userdata, mid, reasons, properties: note("granted", codes(reasons))
client.on_message = on_message
client.on_unsubscribe = lambda *args: note("unsubscribed", codes(next(a for a in args[3:] if not isinstance(a, Properties) and a is not None)))
client.connect("127.0.0.1", port, keepalive=30)
client.loop_start()

def wait(step):
    if not steps[step].wait(30):
        sys.exit(f"no {step}")

wait("connect")
client.subscribe([("t/x", SubscribeOptions(qos=qos)), ("limb/node/cam1/invoke", SubscribeOptions(qos=qos))])
wait("granted")
properties = Properties(PacketTypes.PUBLISH)
properties.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
properties.ContentType = "text/plain"
properties.MessageExpiryInterval = 60
properties.CorrelationData = b"c1"
client.publish("t/x", "hello", qos=qos, properties=properties)
wait("text")
client.unsubscribe("t/x")
wait("unsubscribed")
print(json.dumps(report), flush=True)
client.disconnect()
client.loop_stop()
