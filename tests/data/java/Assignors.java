import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/** Kafka's own assignors, for groups that stdin describes: fields of a line are divided by tabs.
 *
 *  topic NAME COUNT RACKS, member ID INSTANCE SUBSCRIPTION, then plan ASSIGNOR: a line with id and
 *  assignment for each member, or why it fails, then an empty one.
 *
 *  join ASSIGNOR GENERATION TOPICS OWNED KEPT RACK VERSION: a line with the subscription that a
 *  member sends. */
public class Assignors {
    static PrintStream out = System.out;

    static ConsumerPartitionAssignor assignor(String name) {
        switch (name) {
            case "range": return new RangeAssignor();
            case "roundrobin": return new RoundRobinAssignor();
            case "sticky": return new StickyAssignor();
            default: return new CooperativeStickyAssignor();
        }
    }

    static String hex(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    static List<String> split(String text, String by) {
        return text.isEmpty() ? new ArrayList<>() : Arrays.asList(text.split(by, -1));
    }

    static List<TopicPartition> partitions(String text) {
        List<TopicPartition> all = new ArrayList<>();
        for (String one : split(text, ",")) {
            int colon = one.lastIndexOf(':');
            all.add(new TopicPartition(one.substring(0, colon),
                Integer.parseInt(one.substring(colon + 1))));
        }
        return all;
    }

    static void topic(List<PartitionInfo> infos, String name, int count, List<String> racks) {
        for (int i = 0; i < count; i++) {
            List<Node> nodes = new ArrayList<>();
            for (String rack : racks.isEmpty() ? racks : split(racks.get(i), ",")) {
                nodes.add(new Node(nodes.size(), "h", 1, rack));
            }
            Node[] replicas = nodes.toArray(new Node[0]);
            infos.add(new PartitionInfo(name, i, Node.noNode(), replicas, replicas));
        }
    }

    static void plan(String name, List<PartitionInfo> infos, Map<String, Subscription> members) {
        Cluster cluster = new Cluster("c", List.of(), infos, Set.of(), Set.of());
        try {
            Map<String, Assignment> plan = new TreeMap<>(assignor(name)
                .assign(cluster, new GroupSubscription(members)).groupAssignment());
            plan.forEach((id, assignment) ->
                out.println(id + "\t" + hex(ConsumerProtocol.serializeAssignment(assignment))));
        } catch (RuntimeException failed) {
            out.println("failed: " + failed);
        }
        out.println();
    }

    static void join(String[] f) {
        ConsumerPartitionAssignor assignor = assignor(f[1]);
        int generation = Integer.parseInt(f[2]);
        List<String> topics = split(f[3], ",");
        if (generation >= 0) {
            assignor.onAssignment(new Assignment(partitions(f[4])),
                new ConsumerGroupMetadata("g", generation, "m", Optional.empty()));
        }
        Optional<String> rack = f[6].isEmpty() ? Optional.empty() : Optional.of(f[6]);
        Subscription subscription = new Subscription(topics,
            assignor.subscriptionUserData(new HashSet<>(topics)), partitions(f[5]), generation, rack);
        short version = Short.parseShort(f[7]);
        out.println(hex(ConsumerProtocol.serializeSubscription(subscription, version)));
    }

    public static void main(String[] args) throws Exception {
        // What is logged goes elsewhere.
        System.setOut(System.err);
        List<PartitionInfo> infos = new ArrayList<>();
        Map<String, Subscription> members = new HashMap<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] f = line.split("\t", -1);
            if (f[0].equals("topic")) {
                topic(infos, f[1], Integer.parseInt(f[2]), split(f[3], ";"));
            } else if (f[0].equals("member")) {
                Subscription subscription = ConsumerProtocol.deserializeSubscription(
                    ByteBuffer.wrap(HexFormat.of().parseHex(f[3])));
                subscription.setGroupInstanceId(
                    f[2].isEmpty() ? Optional.empty() : Optional.of(f[2]));
                members.put(f[1], subscription);
            } else if (f[0].equals("plan")) {
                plan(f[1], infos, members);
                infos = new ArrayList<>();
                members = new HashMap<>();
            } else {
                join(f);
            }
        }
        out.flush();
    }
}
